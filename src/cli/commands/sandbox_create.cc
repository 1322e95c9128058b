#include "cli/commands/sandbox_create.h"

#include <fmt/format.h>

#include <cstdio>
#include <utility>

#include "cli/commands/bound_work_tree.h"
#include "cli/commands/command_run.h"
#include "cli/output/progress.h"
#include "cli/output/text.h"
#include "cli/session/errors.h"
#include "cli/session/session.h"
#include "config/config.h"
#include "config/paths.h"

namespace cleanroom::cli {
namespace {

// For a sandbox that its command line was to remove.
constexpr int kAbandonedMinutes = 1;
// Of a change set in a request; the daemon takes no larger message.
constexpr size_t kMaxPatch = 16U << 20;

// The change set as a request carries it; resource_exhausted for one that is too large to.
Result<v1::RepositoryChangeset> ToMessage(const workspace::ChangeSet& changes) {
  if (changes.patch.size() > kMaxPatch) {
    return Err(Error(ErrorCode::kResourceExhausted,
                     fmt::format("the local changes make a patch of {} MiB, and {} MiB travel with "
                                 "a sandbox's creation",
                                 changes.patch.size() >> 20, kMaxPatch >> 20))
                   .Remedy("Create without --copy-in, then use: cleanroom workspace copy-in ID"));
  }
  v1::RepositoryChangeset message;
  message.set_format(std::string(workspace::kChangeSetFormat));
  message.set_base_commit_sha(changes.base_commit);
  message.set_digest(changes.digest);
  message.set_tree_digest(changes.tree);
  message.set_patch(changes.patch);
  for (const auto& file : changes.files) {
    v1::RepositoryChangesetFile& out = *message.add_files();
    out.set_path(file.path);
    out.set_sha256(file.sha256);
    out.set_deleted(file.deleted);
  }
  return message;
}

Awaitable<Result<int>> Create(client::Api& api, v1::CreateSandboxRequest request,
                              CheckoutSource source, ProgressStyle style, Quiet quiet) {
  CR_CO_TRY(AddCheckout(source, request));
  if (!source.policy.of_commit) {
    auto policy = co_await FinishPolicy(api, std::move(source.policy));
    if (!policy) co_return Err(std::move(policy).error());
    *request.mutable_policy() = std::move(*policy);
  }
  const auto executor = co_await asio::this_coro::executor;
  Progress progress(executor, style);
  progress.Start();
  std::string id;
  auto created = co_await CreateSandbox(api, std::move(request), progress, id);
  co_await progress.Finish();
  if (!created) co_return Err(std::move(created).error());
  if (quiet == Quiet::kNo) PrintNotes(*created);
  if (source.work_tree) CR_CO_TRY(Binder(source)(created->sandbox));
  co_return PrintAnswer(created->sandbox.sandbox_id() + "\n");
}

}  // namespace

Result<std::string> DefaultImage() {
  CR_TRY_ASSIGN(const auto paths, config::ResolvePaths(config::Environment::OfProcess()));
  CR_TRY_ASSIGN(auto parsed, config::LoadOrDefault(paths.config_file));
  return std::move(parsed.config.default_image);
}

v1::CreateSandboxRequest CreateRequestFor(const RunFlags& flags) {
  v1::CreateSandboxRequest request;
  request.set_backend(flags.backend);
  request.mutable_options()->set_launch_seconds(flags.launch_seconds);
  request.mutable_options()->set_keep(flags.keep);
  // Whoever is killed before the command ends removes nothing.
  if (flags.rm) request.mutable_options()->set_idle_minutes(kAbandonedMinutes);
  return request;
}

Result<void> AddCheckout(const CheckoutSource& source, v1::CreateSandboxRequest& request) {
  if (source.checkout) *request.mutable_repository_checkout() = *source.checkout;
  if (source.changes) {
    CR_TRY_ASSIGN(*request.mutable_repository_changeset(), ToMessage(*source.changes));
  }
  if (source.bundle) {
    v1::RepositoryCommitBundle& bundle = *request.mutable_repository_commit_bundle();
    bundle.set_format(std::string(workspace::kBundleFormat));
    bundle.set_target_commit_sha(source.bundle->target_commit);
    bundle.set_digest(source.bundle->digest);
    bundle.set_bundle(source.bundle->bundle);
  }
  return {};
}

std::function<Result<void>(const v1::Sandbox& sandbox)> Binder(const CheckoutSource& source) {
  std::vector<workspace::ChangedFile> manifest;
  if (source.changes) manifest = source.changes->files;
  return [repository = *source.work_tree, manifest](const v1::Sandbox& sandbox) {
    return BindWorkTree(sandbox, repository, manifest);
  };
}

void WarnAbout(const Invocation& invocation, const PolicySource& source) {
  if (source.warning.empty() || invocation.client.log_level < LogLevel::kWarn) return;
  PrintWarning(source.warning);
}

void WarnAbout(const Invocation& invocation, const CheckoutSource& source) {
  WarnAbout(invocation, source.policy);
  if (invocation.client.log_level < LogLevel::kWarn) return;
  for (const std::string& note : source.notes) PrintWarning(note);
}

void WarnAboutAllowAll(const Invocation& invocation, const RunFlags& flags) {
  if (!flags.dangerously_allow_all || invocation.client.log_level < LogLevel::kWarn) return;
  std::fputs(
      "cleanroom: warning: --dangerously-allow-all: whatever the sandbox wants to reach is let "
      "through, and logged\n",
      stderr);
}

int CreateAndPrint(const Invocation& invocation, const RunFlags& flags, CheckoutSource source) {
  WarnAbout(invocation, source);
  WarnAboutAllowAll(invocation, flags);
  const Quiet quiet = flags.quiet ? Quiet::kYes : Quiet::kNo;
  const ProgressStyle style = ChooseProgress(invocation, quiet);
  return RunConnected(invocation, [&](client::Api& api) {
    return Create(api, CreateRequestFor(flags), std::move(source), style, quiet);
  });
}

}  // namespace cleanroom::cli
