// Local changes into a sandbox's work tree, over the file procedures of the daemon.
#pragma once

#include <string>
#include <vector>

#include "base/async.h"
#include "client/api.h"

namespace cleanroom::cli {

struct CopyInOptions {
  bool dry_run = false;
};
struct CopiedIn {
  std::vector<std::string> written;  // paths relative to the work tree
  std::vector<std::string> removed;
};
// Makes what the local work tree has beyond its commit the state of the sandbox's work tree, in
// every path that this or an earlier copy concerns. failed_precondition where the sandbox is of
// another commit, or a command runs in it.
Awaitable<Result<CopiedIn>> CopyIn(client::Api& api, std::string sandbox_id, CopyInOptions options);

}  // namespace cleanroom::cli
