// A rehearsal: an identity and commands for a machine that nobody has claimed, so that its owner's
// are quick.
#pragma once

#include <chrono>
#include <memory>
#include <string_view>

#include "base/async.h"
#include "cleanroom/internal/v1/guest.pb.h"
#include "rpc/client.h"

namespace cleanroom::guest_link {

// What the agent says on the console of a machine that has rehearsed by itself and may be saved,
inline constexpr std::string_view kPrimedLine = "cleanroom-guest: primed";
// and each time when it has heard a goodbye from the host and waits for another connection.
inline constexpr std::string_view kWaitingLine = "cleanroom-guest: waiting";

// Returns when the commands have ended; that the image does not have them is no error. `identity`
// is for nobody to see; see ConfigureRequest's `rehearsal`.
Awaitable<Result<void>> Rehearse(std::shared_ptr<rpc::Channel> agent,
                                 internal::v1::ConfigureRequest identity,
                                 std::chrono::steady_clock::time_point deadline);

}  // namespace cleanroom::guest_link
