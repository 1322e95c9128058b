// The changes of a sandbox's work tree back into the local one, over the file procedures of the
// daemon.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/async.h"
#include "client/api.h"
#include "workspace/copy_plan.h"

namespace cleanroom::cli {

struct CopyOutOptions {
  bool dry_run = false;
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
