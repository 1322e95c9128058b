// Connecting to a daemon: a URL becomes a channel.
#pragma once

#include <memory>

#include "base/async.h"
#include "client/connect_options.h"
#include "rpc/client.h"

namespace cleanroom::client {

// invalid_argument for a URL that is none; unavailable, naming it, when nothing answers there. The channel must be closed before it is destroyed.
Awaitable<Result<std::unique_ptr<rpc::Channel>>> Connect(ConnectOptions options);

}  // namespace cleanroom::client
