// Removal of what the daemon's host keeps, for the commands that ask for it.
#pragma once

#include <string>

#include "base/async.h"
#include "cleanroom/v1/system.pb.h"
#include "client/api.h"

namespace cleanroom::cli {

struct PruneFlags {
  bool dry_run = false;
  bool force = false;
  bool json = false;
};

// An error where Prune would have to ask, and nobody is there. `command`: "cleanroom system prune".
Result<void> CheckMayAsk(const PruneFlags& flags, const std::string& command);

// Shows what would go and asks, unless forced; removes it, and prints what went. An error, after
// that, when not everything did that should have.
Awaitable<Result<int>> Prune(client::Api& api, ::cleanroom::v1::PruneRequest request,
                             PruneFlags flags);

// "5h ago", or "-".
std::string UsedAgo(const ::cleanroom::v1::StoredItem& item);

}  // namespace cleanroom::cli
