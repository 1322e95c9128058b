// A trial boot: does a machine reach its first user process in time? And what follows for the
// accelerator.
#pragma once

#include <chrono>
#include <string>

#include "base/result.h"
#include "vmm/accelerator.h"
#include "vmm/backend.h"
#include "vmm/kernel_store.h"
#include "vmm/qemu/qemu_backend.h"

namespace cleanroom::vmm {

// Boots `spec` until the kernel says that it starts /init, then kills it; blocking.
// runtime_launch_failed, with the last console line, when the machine ends before;
// deadline_exceeded when it takes longer.
Result<void> ProbeBoot(const Backend& backend, MachineSpec spec, std::chrono::milliseconds timeout);

// How long a boot under a KVM that deserves the name may take.
inline constexpr std::chrono::milliseconds kKvmProbeTimeout{5000};

// ChooseAccelerator for this host, with ProbeBoot of `kernel` and `initrd` as the trial.
// `verdict_path` is the file that remembers its result. Blocks for at most kKvmProbeTimeout, and
// not at all where the processor has no virtualisation.
Result<AcceleratorDecision> DecideAccelerator(const QemuBackend& backend, AcceleratorChoice choice,
                                              const Kernel& kernel, const std::string& initrd,
                                              const std::string& verdict_path);

}  // namespace cleanroom::vmm
