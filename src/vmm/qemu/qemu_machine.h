// One QEMU process: what the backend makes, and how it is spoken to (QMP).
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "os/process.h"
#include "os/unique_fd.h"
#include "vmm/backend.h"
#include "vmm/qemu/qmp.h"

namespace cleanroom::vmm {

class QemuMachine : public Machine {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  struct Ends {
    os::UniqueFd agent;
    os::UniqueFd console;
    os::UniqueFd monitor;
    // Of a fork, which ends when this closes. Its monitor has greeted somebody else.
    os::UniqueFd lifeline{};
  };
  QemuMachine(os::Process process, Ends ends);

  pid_t pid() const override { return process_.pid(); }
  int pidfd() const override { return process_.pidfd(); }
  os::UniqueFd TakeAgentStream() override { return std::move(ends_.agent); }
  os::UniqueFd TakeConsole() override { return std::move(ends_.console); }
  Result<void> Save(int state_fd, TimePoint deadline) override;
  Result<void> Pause(TimePoint deadline) override;
  Result<void> FillSlots(std::span<const SlotFile> files, TimePoint deadline) override;
  Result<void> Kill() override;
  Result<os::ExitStatus> Quit(std::chrono::milliseconds timeout) override;
  Result<os::ExitStatus> Wait() override { return process_.Wait(); }

  // Of one that was started with -incoming defer.
  Result<void> Resume(TimePoint deadline);
  // Of one that is paused.
  Result<void> Continue(TimePoint deadline);

 private:
  Result<std::string> Ask(std::string_view command, std::string_view arguments, TimePoint deadline);
  // Once, before anything is asked.
  Result<void> Greet(TimePoint deadline);
  Result<void> LeaveMemoryInItsFile(TimePoint deadline);
  // Asks until the answer's status is `wanted`.
  Result<void> Until(std::string_view query, std::string_view wanted, TimePoint deadline);

  os::Process process_;
  Ends ends_;
  Qmp qmp_;
  bool forked_;
  bool greeted_;
};

}  // namespace cleanroom::vmm
