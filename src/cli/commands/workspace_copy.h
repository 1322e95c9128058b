// Local changes into a sandbox's work tree, and its changes back: what the copy flags and the
// `workspace` commands do, over the file procedures of the daemon.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/async.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "client/api.h"
#include "workspace/change_set.h"
#include "workspace/copy_plan.h"

namespace cleanroom::cli {

// A sandbox's own work tree is bound to the local one that it was made from (workspace/binding.h).
Result<void> BindWorkTree(const v1::Sandbox& sandbox, const workspace::Repository& repository,
                          const std::vector<workspace::ChangedFile>& manifest);

// The change set as a request carries it; resource_exhausted for one that is too large to.
Result<v1::RepositoryChangeset> ToMessage(const workspace::ChangeSet& changes);

enum class DryRun { kNo, kYes };

struct CopiedIn {
  std::vector<std::string> written;  // paths relative to the work tree
  std::vector<std::string> removed;
};
// Makes what the local work tree has beyond its commit the state of the sandbox's work tree, in
// every path that this or an earlier copy concerns. failed_precondition where the sandbox is of
// another commit, or a command runs in it.
Awaitable<Result<CopiedIn>> CopyIn(client::Api& api, std::string sandbox_id, DryRun dry_run);

struct CopyOutOptions {
  DryRun dry_run = DryRun::kNo;
  workspace::Force force = workspace::Force::kNo;
};
struct CopiedOut {
  std::vector<workspace::PlannedPath> paths;  // without their files
  size_t written = 0;
  size_t deleted = 0;
};
// Brings what has changed in the sandbox's work tree back to the local one. failed_precondition,
// listing the conflicts, when there are any: then nothing is written.
Awaitable<Result<CopiedOut>> CopyOut(client::Api& api, std::string sandbox_id,
                                     CopyOutOptions options);

}  // namespace cleanroom::cli
