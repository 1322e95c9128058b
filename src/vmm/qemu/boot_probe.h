// A trial boot: does this machine reach its first user process in time?
#pragma once

#include <chrono>

#include "base/result.h"
#include "vmm/backend.h"

namespace cleanroom::vmm {

// Boots `spec` until the kernel says that it starts /init, then kills it; blocking.
// runtime_launch_failed, with the last console line, when the machine ends before;
// deadline_exceeded when it takes longer.
Result<void> ProbeBoot(const Backend& backend, MachineSpec spec, std::chrono::milliseconds timeout);

}  // namespace cleanroom::vmm
