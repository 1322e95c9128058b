// The TAP device of a sandbox.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::os {

// A TAP with virtio-net headers in the network namespace this thread is in now, where it stays. It
// is down, and goes with its namespace.
Result<UniqueFd> MakeTap(const std::string& name);

// Whether this process could use /dev/net/tun; failed_precondition, with the remedy, otherwise.
Result<void> CheckTun();

}  // namespace cleanroom::os
