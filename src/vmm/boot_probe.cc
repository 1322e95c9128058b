#include "vmm/boot_probe.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "vmm/console_log.h"

namespace cleanroom::vmm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::string_view kStarted = "Run /init as init process";
constexpr size_t kKept = 64 << 10;
constexpr int kTrialMemoryMib = 256;

// For a message: what was on the console last.
std::string LastLine(std::string_view said) {
  while (!said.empty() && (said.back() == '\n' || said.back() == '\r')) said.remove_suffix(1);
  return Printable(said.substr(said.find_last_of("\r\n") + 1));
}

// Now and then a boot on a busy host never gets anywhere (a kernel that measures its clock wrongly, say),
// which says nothing about the next one.
Result<milliseconds> ProbeTwice(const Backend& backend, const MachineSpec& spec,
                                milliseconds limit) {
  auto booted = ProbeBoot(backend, spec, limit / 2);
  if (booted || booted.error().code() != ErrorCode::kDeadlineExceeded) return booted;
  return ProbeBoot(backend, spec, limit / 2);
}

}  // namespace

Result<milliseconds> ProbeBoot(const Backend& backend, MachineSpec spec, milliseconds timeout) {
  const auto begin = steady_clock::now();
  const auto deadline = begin + timeout;
  spec.extra_cmdline += " loglevel=7";  // after "quiet", which it overrides
  CR_TRY_ASSIGN(const std::unique_ptr<Machine> machine, backend.Start(spec, Boot{}, deadline));
  const os::UniqueFd console = machine->TakeConsole();
  std::string said;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now()).count();
    if (left <= 0) {
      return Err(ErrorCode::kDeadlineExceeded,
                 fmt::format("the guest did not start within {} ms, and said last: {}",
                             timeout.count(), said.empty() ? "nothing" : LastLine(said)));
    }
    pollfd watched{console.get(), POLLIN, 0};
    const int ready = poll(&watched, 1, static_cast<int>(std::min<int64_t>(left, 60'000)));
    if (ready < 0 && errno != EINTR) return ErrErrno(ErrorCode::kInternal, "poll the console");
    if (ready <= 0) continue;
    std::array<char, 4096> chunk;
    const ssize_t n = read(console.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return Err(ErrorCode::kRuntimeLaunchFailed, fmt::format("the VMM ended: {}", LastLine(said)));
    }
    said.append(chunk.data(), static_cast<size_t>(n));
    if (said.find(kStarted) != std::string::npos) {
      return std::chrono::ceil<milliseconds>(steady_clock::now() - begin);
    }
    if (said.size() > kKept) said.erase(0, said.size() - kKept / 2);
  }
}

Result<AcceleratorDecision> DecideAccelerator(const Backend& backend, AcceleratorChoice choice,
                                              const Trial& trial, const VerdictStore& store) {
  MachineSpec spec;
  spec.sandbox_id = "accelerator-probe";
  spec.kernel = trial.kernel;
  spec.initrd = trial.initrd;
  spec.vcpus = 1;
  spec.memory_mib = kTrialMemoryMib;
  spec.accelerator = Accelerator::kKvm;
  spec.tsc_khz = trial.tsc_khz;
  return ChooseAccelerator(choice, ReadKvmFacts(), store, TrialLimit(choice, trial.launch_limit),
                           [&](milliseconds limit) { return ProbeTwice(backend, spec, limit); });
}

}  // namespace cleanroom::vmm
