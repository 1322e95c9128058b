// The host's TSC rate, for the guest's tsc_early_khz: a guest that must measure it on a busy host
// without hardware virtualisation hangs.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/result.h"

namespace cleanroom::vmm {

// What CPUID leaf 0x15 tells: (ecx * ebx / eax) Hz, 0 when any is 0 (the leaf is then incomplete).
uint64_t TscKhzFromCpuid(uint32_t eax, uint32_t ebx, uint32_t ecx);

// A rate from two simultaneous readings of the TSC and of a clock in nanoseconds.
uint64_t TscKhzFromReadings(uint64_t tsc_begin, uint64_t tsc_end, uint64_t ns_begin,
                            uint64_t ns_end);

// CPUID if it tells, else a measurement against CLOCK_MONOTONIC_RAW that takes `time`, blocking.
// failed_precondition when the processor has no usable TSC.
Result<uint64_t> MeasureTscKhz(std::chrono::milliseconds time = std::chrono::milliseconds(10));

}  // namespace cleanroom::vmm
