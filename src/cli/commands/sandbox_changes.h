// What has changed in a sandbox's work tree since it began, fetched over the file procedures of the
// daemon and judged.
#pragma once

#include "base/async.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "client/api.h"
#include "os/unique_fd.h"
#include "workspace/copy_plan.h"
#include "workspace/incoming.h"
#include "workspace/repository.h"

namespace cleanroom::cli {

struct FetchedChanges {
  os::UniqueFd tar;  // what `incoming` was read from
  workspace::Incoming incoming;
};

// All that differs from `baseline`, of which `repository` has the commit. Files that git ignores
// there are not fetched, unless the commit has them.
//
// resource_exhausted, before anything is fetched, when the sandbox names more than 1,000,000 paths
// or more than 250,000 files would be fetched.
Awaitable<Result<FetchedChanges>> FetchChanges(client::Api& api, ::cleanroom::v1::Sandbox sandbox,
                                               workspace::Repository repository,
                                               workspace::Baseline baseline);

}  // namespace cleanroom::cli
