#include "server/repositories/commit_source.h"

#include <fmt/format.h>

#include <utility>

namespace cleanroom::server {
namespace {

// The mirror, with all that a bundle builds on; of a bundle that builds on nothing, as it is.
Result<git::Resolved> EnsurePrerequisites(const git::MirrorStore& mirrors,
                                          const git::RemoteUrl& remote,
                                          const std::vector<std::string>& commits,
                                          const git::Control& control) {
  if (commits.empty()) return mirrors.EnsureCommit(remote, {}, control);
  git::Resolved out;
  for (const std::string& commit : commits) {
    auto resolved = mirrors.EnsureCommit(remote, {.commit = commit}, control);
    if (!resolved && resolved.error().code() == ErrorCode::kNotFound) {
      return Err(Error(ErrorCode::kFailedPrecondition,
                       fmt::format("the local commits build on {}, which {} does not have", commit,
                                   remote.origin()))
                     .Remedy("Fetch from the remote and build on what it has, or push the branch"));
    }
    if (!resolved) return resolved;
    out = *std::move(resolved);
  }
  return out;
}

}  // namespace

Result<CommitSource> OpenBundle(const git::MirrorStore& mirrors, const git::RemoteUrl& remote,
                                const repository::Bundle& bundle, const std::string& branch,
                                const git::Control& control) {
  CR_TRY_ASSIGN(const repository::BundleHeader header, repository::CheckBundle(bundle));
  CommitSource out;
  CR_TRY_ASSIGN(out.resolved, EnsurePrerequisites(mirrors, remote, header.prerequisites, control));
  out.resolved.branch = branch;
  out.resolved.commit = bundle.target;
  CR_TRY_ASSIGN(
      repository::VerifiedBundle verified,
      repository::VerifyBundle(git::Mirror(mirrors.git(), out.resolved.mirror), bundle, control));
  out.bundle.emplace(std::move(verified));
  return out;
}

Result<CommitSource> OpenCommit(const git::MirrorStore& mirrors,
                                const repository::BundleStore& bundles,
                                const git::RemoteUrl& remote, const store::Checkout& checkout,
                                const git::Control& control) {
  if (!checkout.bundle.empty()) {
    CR_TRY_ASSIGN(const std::string bytes, bundles.Read(checkout.bundle));
    return OpenBundle(mirrors, remote,
                      {.format = std::string(repository::kBundleFormat),
                       .target = checkout.commit,
                       .digest = checkout.bundle,
                       .bytes = bytes},
                      checkout.branch, control);
  }
  CommitSource out;
  CR_TRY_ASSIGN(out.resolved,
                mirrors.EnsureCommit(remote, {.commit = checkout.commit, .branch = checkout.branch},
                                     control));
  return out;
}

}  // namespace cleanroom::server
