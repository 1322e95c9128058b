#include "vmm/tsc.h"

#include <cpuid.h>
#include <time.h>
#include <x86intrin.h>

#include <cmath>
#include <limits>

namespace cleanroom::vmm {
namespace {

struct Reading {
  uint64_t tsc = 0;
  uint64_t ns = 0;
};

uint64_t RawNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// Both clocks at one moment: the tightest of several tries, for a busy host preempts.
Reading ReadBoth() {
  Reading best;
  uint64_t best_width = std::numeric_limits<uint64_t>::max();
  for (int i = 0; i < 20; ++i) {
    const uint64_t before = __rdtsc();
    const uint64_t ns = RawNanoseconds();
    const uint64_t after = __rdtsc();
    if (after - before < best_width) {
      best_width = after - before;
      best = {before + (after - before) / 2, ns};
    }
  }
  return best;
}

}  // namespace

uint64_t TscKhzFromCpuid(uint32_t eax, uint32_t ebx, uint32_t ecx) {
  if (eax == 0 || ebx == 0 || ecx == 0) return 0;
  return uint64_t{ecx} * ebx / eax / 1000;
}

uint64_t TscKhzFromReadings(uint64_t tsc_begin, uint64_t tsc_end, uint64_t ns_begin,
                            uint64_t ns_end) {
  if (ns_end <= ns_begin || tsc_end <= tsc_begin) return 0;
  const double ratio =
      static_cast<double>(tsc_end - tsc_begin) / static_cast<double>(ns_end - ns_begin);
  return static_cast<uint64_t>(std::llround(ratio * 1'000'000));
}

Result<uint64_t> MeasureTscKhz(std::chrono::milliseconds time) {
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  if (__get_cpuid_count(0x15, 0, &eax, &ebx, &ecx, &edx) != 0) {
    if (const uint64_t khz = TscKhzFromCpuid(eax, ebx, ecx); khz != 0) return khz;
  }
  const Reading begin = ReadBoth();
  const timespec pause{time.count() / 1000, static_cast<long>(time.count() % 1000) * 1'000'000};
  nanosleep(&pause, nullptr);
  const Reading end = ReadBoth();
  const uint64_t khz = TscKhzFromReadings(begin.tsc, end.tsc, begin.ns, end.ns);
  // Processors with a TSC run between 100 MHz and 20 GHz; anything else is a clock that stood
  // still.
  if (khz < 100'000 || khz > 20'000'000) {
    return Err(ErrorCode::kFailedPrecondition,
               "the processor's time stamp counter does not run steadily");
  }
  return khz;
}

}  // namespace cleanroom::vmm
