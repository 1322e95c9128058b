// The difference between a sandbox's work tree and the commit that it began with.
#pragma once

#include <string>

#include "base/async.h"
#include "client/api.h"
#include "workspace/sandbox_diff.h"

namespace cleanroom::cli {

struct DiffOptions {
  workspace::SandboxDiff::Form form = workspace::SandboxDiff::Form::kPatch;
  bool json = false;
};

// Prints it; 1 when there is one, or something that a patch cannot say, 0 when there is none. On a
// terminal what drives one is escaped; everywhere else come git's bytes.
Awaitable<Result<int>> Diff(client::Api& api, std::string sandbox_id, DiffOptions options);

}  // namespace cleanroom::cli
