// RunningMachine: a sandbox's VMM with its console, which it reads, and the channel to its agent.
#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/async.h"
#include "rpc/client.h"
#include "vmm/backend.h"
#include "vmm/console_log.h"

namespace cleanroom::warden {

class RunningMachine {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // Starts the VMM, with the console in `folder`/console.log, anew. A guest that need not boot runs
  // on when this returns: it blocks for the milliseconds that this takes, at most until the
  // deadline.
  static Result<std::shared_ptr<RunningMachine>> Start(asio::any_io_executor executor,
                                                       const std::filesystem::path& folder,
                                                       const vmm::Backend& backend,
                                                       const vmm::MachineSpec& spec,
                                                       vmm::StartFrom from, TimePoint deadline);

  // One is going to hang up on the agent, as before a machine is held. Before the first use of
  // agent().
  void ExpectHangUps() { hangs_up_ = true; }

  // Shared with the calls under way, which end with kUnavailable when the machine does. The first
  // call begins to speak to the agent: never for a machine that is to be saved.
  const std::shared_ptr<rpc::Channel>& agent();

  // Returns when the VMM has ended; also when the task is cancelled.
  Awaitable<void> WaitEnd();
  // Waits for the VMM's end, for at most `limit`, and says how it died; nothing when it lives.
  Awaitable<std::optional<std::string>> DescribeDeath(std::chrono::milliseconds limit);
  // Waits for a line on the console, or for so many of it; deadline_exceeded or, when the machine
  // ends before, runtime_launch_failed.
  Awaitable<Result<void>> WaitForLine(std::string_view line, TimePoint deadline, size_t count = 1);
  // Stops the machine for good and writes its devices to the file (vmm::Machine::Save). Blocks.
  Result<void> Save(const std::string& state_file, TimePoint deadline);
  // Hangs up on the agent and waits until it says so by this line on the console, each time. After
  // ExpectHangUps; the next use of agent() is a new connection.
  Awaitable<Result<void>> HangUp(std::string_view line, TimePoint deadline);
  // Puts files into its slots (vmm::Machine::FillSlots). Blocks for a millisecond or two.
  Result<void> FillSlots(std::span<const vmm::SlotFile> files, TimePoint deadline) {
    return machine_->FillSlots(files, deadline);
  }
  // Pauses the machine, on whose agent one has hung up, and of which forks run from then on.
  Result<void> Hold(TimePoint deadline);
  std::string ConsoleTail() const;
  pid_t vmm_pid() const { return machine_->pid(); }

  // Kills the machine and returns once it is reaped and all that it said is read. May be called by
  // several, and again.
  Awaitable<void> End();

 private:
  RunningMachine(asio::any_io_executor executor, std::unique_ptr<vmm::Machine> machine,
                 os::UniqueFd pidfd, vmm::ConsoleLog log);
  Awaitable<void> ReadConsole(os::UniqueFd console);
  Awaitable<void> DrainConsole();
  Awaitable<Result<void>> WaitReadable();
  Awaitable<bool> Ended(TimePoint deadline);

  asio::any_io_executor executor_;
  std::unique_ptr<vmm::Machine> machine_;
  asio::posix::stream_descriptor pidfd_;  // readable when the VMM has ended
  vmm::ConsoleLog console_;
  bool console_ended_ = false;
  bool ending_ = false;
  bool ended_ = false;
  std::shared_ptr<rpc::Channel> agent_;
  bool hangs_up_ = false;
  os::UniqueFd agent_stream_;  // of one that does: the VMM's end must not see ours closed
  size_t goodbyes_ = 0;
  Notifier changed_;
  TaskScope tasks_;
};

}  // namespace cleanroom::warden
