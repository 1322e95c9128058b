#include "cli/commands/sandbox_create.h"

#include <cstdio>
#include <utility>

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

Awaitable<Result<int>> Create(client::Api& api, v1::CreateSandboxRequest request,
                              PolicySource source, ProgressStyle style, Quiet quiet) {
  if (!source.of_commit) {
    auto policy = co_await FinishPolicy(api, std::move(source));
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
  v1::CreateSandboxRequest request = CreateRequestFor(flags);
  if (source.checkout) *request.mutable_repository_checkout() = *std::move(source.checkout);
  return RunConnected(invocation, [&](client::Api& api) {
    return Create(api, std::move(request), std::move(source.policy), style, quiet);
  });
}

}  // namespace cleanroom::cli
