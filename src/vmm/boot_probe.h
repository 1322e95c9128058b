// A trial boot: does a machine reach its first user process in time? And what follows for the
// accelerator.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "vmm/accelerator.h"
#include "vmm/backend.h"

namespace cleanroom::vmm {

// Boots `spec` until the kernel says that it starts /init, then kills it; blocking. What that took.
// runtime_launch_failed when the machine ends before, deadline_exceeded when it takes longer, both
// with the last console line.
Result<std::chrono::milliseconds> ProbeBoot(const Backend& backend, MachineSpec spec,
                                            std::chrono::milliseconds timeout);

// What is booted under KVM to see whether it works.
struct Trial {
  std::string kernel;                      // path of the vmlinux
  std::string initrd;                      // path
  uint64_t tsc_khz = 0;                    // as in MachineSpec
  std::chrono::milliseconds launch_limit;  // the config's, for any boot
};

// ChooseAccelerator for this host, with ProbeBoot of the trial, again when the first one has not
// come to an end in half of the time. Blocks for at most TrialLimit, and
// not at all where the processor has no virtualisation.
Result<AcceleratorDecision> DecideAccelerator(const Backend& backend, AcceleratorChoice choice,
                                              const Trial& trial, const VerdictStore& store);

}  // namespace cleanroom::vmm
