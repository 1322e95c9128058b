// Puts local changes into the work tree of a sandbox that has just been mounted.
#pragma once

#include <memory>
#include <string>

#include "base/async.h"
#include "base/result.h"
#include "rpc/client.h"
#include "server/launch/checkouts.h"

namespace cleanroom::server {

// By the warden's file procedures, below `folder`. Blocks for the pieces of the archive, which lie
// in the page cache.
Awaitable<Result<void>> WriteChanges(std::shared_ptr<rpc::Channel> warden, std::string folder,
                                     ChangedFiles files);

}  // namespace cleanroom::server
