// The two ways of `cleanroom cp`. What comes out of a sandbox is hostile: of it only permissions
// for user, group and others are kept, and nothing is written outside what was named.
#pragma once

#include <cstdint>

#include "base/async.h"
#include "cli/commands/copy_place.h"
#include "cli/output/progress.h"
#include "client/api.h"

namespace cleanroom::cli {

struct CopySummary {
  int64_t files = 0;
  int64_t bytes = 0;  // of their contents
};

Awaitable<Result<CopySummary>> CopyIntoSandbox(client::Api& api, CopyPlaces places,
                                               Progress& progress);
Awaitable<Result<CopySummary>> CopyFromSandbox(client::Api& api, CopyPlaces places,
                                               Progress& progress);

}  // namespace cleanroom::cli
