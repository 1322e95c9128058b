// A rehearsal: an identity and a command for a machine that nobody has claimed, so that its
// owner's are quick.
#pragma once

#include <chrono>
#include <memory>

#include "base/async.h"
#include "cleanroom/internal/v1/guest.pb.h"
#include "rpc/client.h"

namespace cleanroom::sandbox {

// Returns when the command has ended. `identity` is for nobody to see; see Configure's `rehearsal`.
Awaitable<Result<void>> Rehearse(std::shared_ptr<rpc::Channel> agent,
                                 internal::v1::ConfigureRequest identity,
                                 std::chrono::steady_clock::time_point deadline);

}  // namespace cleanroom::sandbox
