// Prime: what a machine does before it is saved as a template, so that its copies need not do it.
#pragma once

#include <optional>
#include <string_view>

#include "base/async.h"
#include "cleanroom/internal/v1/guest.pb.h"
#include "rpc/server.h"

namespace cleanroom::guest {

// What the command line asks for; nothing when it asks for nothing, invalid_argument when it cannot
// be read.
Result<std::optional<internal::v1::PrepareRequest>> ReadPrepareOption(
    std::string_view kernel_command_line);

// Rehearses what every copy of a prepared machine does first, through the agent's own server and
// client, so that everything on the way is in memory: takes a name, and runs the shell. It is told
// nothing: no user's data can enter a template. An image without a shell is no error.
Awaitable<void> Prime(const rpc::Server& server, internal::v1::PrepareRequest prepared);

}  // namespace cleanroom::guest
