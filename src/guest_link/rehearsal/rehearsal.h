// A rehearsal: an identity and commands for a machine that nobody has claimed, so that its owner's
// are quick.
#pragma once

#include <chrono>
#include <memory>

#include "base/async.h"
#include "cleanroom/internal/v1/guest.pb.h"
#include "rpc/client.h"

namespace cleanroom::guest_link {

// Returns when the commands have ended; that the image does not have them is no error. `identity`
// is for nobody to see; see ConfigureRequest's `rehearsal`.
Awaitable<Result<void>> Rehearse(std::shared_ptr<rpc::Channel> agent,
                                 internal::v1::ConfigureRequest identity,
                                 std::chrono::steady_clock::time_point deadline);

}  // namespace cleanroom::guest_link
