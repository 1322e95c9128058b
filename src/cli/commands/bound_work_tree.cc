#include "cli/commands/bound_work_tree.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "cli/output/text.h"
#include "config/paths.h"
#include "workspace/remote_url.h"

namespace cleanroom::cli {
namespace {

namespace v1 = ::cleanroom::v1;

constexpr const char* kRemote = "origin";

Result<workspace::BindingStore> Bindings() {
  CR_TRY_ASSIGN(const auto paths, config::ResolvePaths(config::Environment::OfProcess()));
  return workspace::BindingStore(paths.state_dir);
}

}  // namespace

Result<void> BindWorkTree(const v1::Sandbox& sandbox, const workspace::Repository& repository,
                          const std::vector<workspace::ChangedFile>& manifest) {
  const v1::RepositoryCheckout& checkout = sandbox.repository_checkout();
  CR_TRY_ASSIGN(const auto bindings, Bindings());
  CR_TRY_ASSIGN(const auto url, workspace::RemoteUrl::Parse(checkout.remote_url()));
  const auto now =
      std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  bindings.RemoveOld(now);
  return bindings.Save({.sandbox_id = sandbox.sandbox_id(),
                        .local_root = repository.top,
                        .remote_identity = url.Identity(),
                        .object_format = repository.object_format,
                        .sandbox_root = checkout.destination_dir(),
                        .made = now,
                        .baseline = {.commit = checkout.commit_sha(), .manifest = manifest}});
}

Awaitable<Result<v1::Sandbox>> FindWithRepository(client::Api& api, std::string sandbox_id) {
  v1::GetSandboxRequest request;
  request.set_sandbox_id(sandbox_id);
  auto answer = co_await api.sandboxes.GetSandbox(std::move(request));
  if (!answer) co_return Err(std::move(answer).error());
  v1::Sandbox sandbox = std::move(*answer->mutable_sandbox());
  if (!sandbox.has_repository_checkout()) {
    co_return Err(Error(ErrorCode::kFailedPrecondition,
                        fmt::format("sandbox {} has no repository", sandbox_id))
                      .About(SubjectKind::kSandbox, sandbox_id)
                      .Remedy("Copy files with: cleanroom cp"));
  }
  co_return sandbox;
}

Result<workspace::CopyTarget> TargetOf(const v1::Sandbox& sandbox) {
  const v1::RepositoryCheckout& checkout = sandbox.repository_checkout();
  CR_TRY_ASSIGN(const auto bindings, Bindings());
  CR_TRY_ASSIGN(const auto binding, bindings.Load(sandbox.sandbox_id()));
  CR_TRY_ASSIGN(const auto url, workspace::RemoteUrl::Parse(checkout.remote_url()));
  return workspace::ChooseCopyTarget(
      binding, {.remote_identity = url.Identity(), .commit = checkout.commit_sha()}, kRemote, ".");
}

Result<workspace::Repository> RepositoryWithCommitOf(const v1::Sandbox& sandbox) {
  const std::string& commit = sandbox.repository_checkout().commit_sha();
  CR_TRY_ASSIGN(const auto bindings, Bindings());
  CR_TRY_ASSIGN(const auto binding, bindings.Load(sandbox.sandbox_id()));
  std::vector<std::string> folders = {"."};
  if (binding) folders.insert(folders.begin(), binding->local_root);
  std::string without;
  for (const std::string& folder : folders) {
    auto found = workspace::Discover(folder);
    if (!found) continue;
    if (workspace::CheckHasCommit(*found, commit)) return found;
    if (without.empty()) {
      without = found->top;
    } else if (without != found->top) {
      without = fmt::format("neither {} nor {}", without, found->top);
    }
  }
  if (without.empty()) {
    return Err(Error(ErrorCode::kFailedPrecondition,
                     fmt::format("there is no repository here with commit {}, with which the "
                                 "sandbox began",
                                 Printable(commit)))
                   .Remedy(fmt::format("Run it in a clone of {}",
                                       Printable(sandbox.repository_checkout().remote_url()))));
  }
  return Err(Error(ErrorCode::kFailedPrecondition,
                   fmt::format("{} {} commit {}, with which the sandbox began", without,
                               without.starts_with("neither ") ? "has" : "does not have",
                               Printable(commit)))
                 .Remedy(fmt::format("Fetch it, as with: git fetch {} {}",
                                     Printable(sandbox.repository_checkout().remote_url()),
                                     Printable(commit))));
}

}  // namespace cleanroom::cli
