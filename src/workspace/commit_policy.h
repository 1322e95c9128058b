// The policy file of a repository: the one in the commit, or the one in the work tree.
//
// A sandbox that begins with a commit goes by the policy in that commit, so that it can be had
// again. With local changes (--copy-in, --sync) it goes by the work tree's file, as its code does.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "base/result.h"
#include "workspace/repository.h"

namespace cleanroom::workspace {

inline constexpr size_t kMaxPolicyBytes = size_t{1} << 20;

struct RepositoryPolicy {
  std::string text;
  std::string path;     // in the repository: "sub/cleanroom.yaml"
  std::string source;   // for people: "cleanroom.yaml at commit 0123abc…", or the file's path
  std::string warning;  // not empty where both cleanroom.yaml and .buildkite/cleanroom.yaml exist
};

enum class LocalChanges { kTravel, kStay };

// cleanroom.yaml, then .buildkite/cleanroom.yaml: in the folder asked about, then at the top.
// Nothing when there is none. A link is no policy file (failed_precondition), and neither is
// anything of more than 1 MiB (resource_exhausted).
Result<std::optional<RepositoryPolicy>> ReadPolicyAtCommit(const Repository& repository);
Result<std::optional<RepositoryPolicy>> ReadPolicyInWorkTree(const Repository& repository);

struct PolicyChoice {
  std::optional<RepositoryPolicy> policy;
  std::string difference;  // one sentence for the user, where commit and work tree differ
};
Result<PolicyChoice> ChoosePolicy(const Repository& repository, LocalChanges changes);

}  // namespace cleanroom::workspace
