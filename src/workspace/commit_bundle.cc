#include "workspace/commit_bundle.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/sha256/sha256.h"
#include "workspace/submodules.h"

namespace cleanroom::workspace {

Result<std::optional<CommitBundle>> BundleLocalCommits(const Repository& repository,
                                                       const Remote& remote, size_t max_bytes) {
  CR_TRY_ASSIGN(const Upstream upstream, IsUpstream(repository, remote, repository.commit));
  if (upstream == Upstream::kHasIt) return std::nullopt;
  CR_TRY(CheckSubmodulesPublished(repository));
  const std::vector<std::string> refs = RefsOf(remote);
  if (refs.empty()) {
    return Err(Error(ErrorCode::kFailedPrecondition,
                     fmt::format("nothing is known of what {} has: no remote of {} has this URL",
                                 remote.url.ToString(), repository.top))
                   .About(SubjectKind::kFile, repository.top)
                   .Remedy("Add it with: git remote add, and fetch from it"));
  }
  std::vector<std::string> args = {"bundle", "create", "--quiet", "-", "HEAD", "--not"};
  args.insert(args.end(), refs.begin(), refs.end());
  auto bundle = repository.git->Read(args, {.max_output = max_bytes});
  if (!bundle && bundle.error().code() == ErrorCode::kResourceExhausted) {
    return Err(Error(ErrorCode::kResourceExhausted,
                     fmt::format("the commits that {} does not have are larger than {} MiB",
                                 remote.name, max_bytes >> 20))
                   .About(SubjectKind::kFile, repository.top)
                   .Remedy("Push them, or fetch first, if the remote has them by now"));
  }
  if (!bundle) return Err(std::move(bundle).error());
  CommitBundle out{.target_commit = repository.commit, .bundle = *std::move(bundle), .digest = {}};
  out.digest = Sha256Hex(out.bundle);
  return out;
}

}  // namespace cleanroom::workspace
