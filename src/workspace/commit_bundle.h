// CommitBundle: the commits that the remote does not have, as a git bundle that travels with the
// sandbox's creation (cleanroom.v1.RepositoryCommitBundle, "git-bundle-v1").
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "workspace/repository.h"

namespace cleanroom::workspace {

inline constexpr std::string_view kBundleFormat = "git-bundle-v1";
inline constexpr size_t kMaxBundleBytes = size_t{64} << 20;

struct CommitBundle {
  std::string target_commit;  // the bundle's one ref, HEAD, is at it
  std::string bundle;
  std::string digest;  // SHA-256 of the bundle, in hexadecimal digits
};

// HEAD minus what the remote-tracking refs of `remote` reach; nothing where they reach HEAD. What
// the remote has is what the last fetch saw: a remote that lost commits since cannot complete the
// bundle, and the daemon says so.
//
// resource_exhausted above `max_bytes`; failed_precondition where a submodule's commit is on no
// remote, or where the remote is known by no name and so nothing is known of what it has.
Result<std::optional<CommitBundle>> BundleLocalCommits(const Repository& repository,
                                                       const Remote& remote,
                                                       size_t max_bytes = kMaxBundleBytes);

}  // namespace cleanroom::workspace
