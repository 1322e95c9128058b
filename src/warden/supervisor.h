// Supervisor: the life of one sandbox inside its warden: launch, executions, and the end.
//
//   IDLE -> [PREPARING -> PREPARED ->] LAUNCHING -> READY -> STOPPED (asked for) or FAILED
//   (anything else)
//
// A warden that makes a template goes from PREPARING to STOPPED, one that holds a machine to be
// forked from PREPARING to HELD.
//
// The machine's end is the sandbox's end, and a final state never changes. It is written to the
// file `end` in the sandbox's folder (a serialized WardenState) before anybody is told, so that a
// control plane that was not listening can learn it later. Lives on the warden's one thread.
#pragma once

#include <chrono>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/async.h"
#include "cleanroom/internal/v1/guest.pb.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "os/netns/netns.h"
#include "os/unique_fd.h"
#include "rpc/client.h"
#include "rpc/service.h"
#include "warden/doors.h"
#include "warden/execution.h"
#include "warden/guest_watch.h"
#include "warden/network_log.h"
#include "warden/running_machine.h"
#include "warden/slots.h"

namespace cleanroom::warden {

// Commands that run at once; more are refused with resource_exhausted.
inline constexpr size_t kMaxRunning = 256;

struct SupervisorConfig {
  std::string sandbox_id;
  std::filesystem::path folder;
  os::NetNsConfig network;
  os::NetNs space;  // the sandbox's network: its TAP and the sockets of its doors
  std::chrono::steady_clock::duration space_took{};  // to make
  os::UniqueFd fork_listener{};                      // for a machine to hold
  os::UniqueFd fork_connection{};                    // to the VMM of a held machine, for one fork
  os::UniqueFd handover{};                           // where files to attach come from
  // Set when the namespace could not be made: what Launch answers.
  std::optional<Error> launch_error;
  // Told which commands run and what the doors decide; required. Outlives the supervisor.
  NetworkLog* network_log = nullptr;
};

class Supervisor {
 public:
  Supervisor(asio::any_io_executor executor, SupervisorConfig config);
  ~Supervisor();

  // Opens the doors and starts the machine, unless it is prepared, once, and tells the phases. When
  // it fails, or the call is cancelled, the sandbox is FAILED.
  Awaitable<Result<void>> Launch(pb::LaunchRequest request, rpc::Writer<pb::LaunchEvent>& out);
  // Starts the machine without an owner and returns when it is launched; see warden.proto.
  Awaitable<Result<void>> Prepare(pb::PrepareMachineRequest request,
                                  rpc::Writer<pb::LaunchEvent>& out);
  // Makes a template of a machine, after which the sandbox is STOPPED.
  Awaitable<Result<void>> MakeTemplate(pb::MakeTemplateRequest request);
  // The state, and every change of it, up to a final one.
  Awaitable<Result<void>> WatchState(rpc::Writer<pb::WardenState>& out);
  // Switches the doors' rules; failed_precondition before the launch and after the end.
  Result<void> SetStage(const pb::SetStageRequest& request);
  // Gives the machine further files and has the guest mount them.
  Awaitable<Result<void>> Attach(pb::AttachRequest request);
  Result<void> StartExecution(pb::StartExecutionRequest request);
  // kNotFound when no such command was started here.
  Result<std::shared_ptr<Execution>> FindExecution(const std::string& id) const;
  Awaitable<Result<void>> Input(std::string execution_id, pb::ExecInput input);
  Awaitable<Result<void>> ReadFile(pb::ReadFileRequest request, rpc::Writer<pb::FileChunk>& out);
  // For the guest's files; failed_precondition unless the sandbox is READY.
  Result<std::shared_ptr<rpc::Channel>> ReadyAgent() const;
  GuestWatch& guest_watch() { return guest_watch_; }
  // Asks the guest to shut down, for at most `grace`, then kills the machine. Returns when it is
  // gone.
  Awaitable<void> Stop(std::chrono::milliseconds grace);

  // Returns once the state is final and the machine is gone, or when the task is cancelled.
  Awaitable<void> WaitEnded();
  // Gives up a sandbox that was never launched.
  void Abandon(const std::string& reason);
  bool idle() const { return state_.phase() == pb::WardenState::PHASE_IDLE; }
  // Ends all tasks; must return before destruction.
  Awaitable<void> Close();

 private:
  using TimePoint = std::chrono::steady_clock::time_point;

  Result<void> OpenDoors(const pb::LaunchRequest& request);
  // Starts machine_ and, if it boots, tries again once when it does not answer.
  Awaitable<Result<void>> StartMachine(pb::Machine machine, rpc::Writer<pb::LaunchEvent>& out,
                                       TimePoint deadline);
  // Gives the guest its identity. It has booted, or runs on as a copy, when it answers.
  Awaitable<Result<std::string>> Identify(std::shared_ptr<RunningMachine> machine,
                                          const pb::LaunchRequest& request, TimePoint deadline);
  // Canceled when the sandbox was stopped, or its machine ended, while one waited.
  Result<void> CheckNotStopped(const std::shared_ptr<RunningMachine>& machine) const;
  Awaitable<Result<void>> StartAndIdentify(pb::LaunchRequest request,
                                           rpc::Writer<pb::LaunchEvent>& out, TimePoint deadline);
  Awaitable<Result<void>> PrepareMachine(pb::PrepareMachineRequest request,
                                         rpc::Writer<pb::LaunchEvent>& out);
  Awaitable<Result<void>> SaveTemplate(pb::MakeTemplateRequest request);
  Awaitable<void> WatchMachine(std::shared_ptr<RunningMachine> machine);
  // Ends a machine whose guest does not, or cannot, answer any more.
  Awaitable<void> WatchGuest(std::shared_ptr<RunningMachine> machine,
                             std::shared_ptr<rpc::Channel> agent);
  Awaitable<void> RunExecution(std::shared_ptr<Execution> execution,
                               std::shared_ptr<rpc::Channel> agent);
  // Why a call to the agent failed: the machine's end, if that is the reason.
  Awaitable<Error> Explain(std::shared_ptr<RunningMachine> machine, Error error);
  // Ends the machine, then closes the doors: what the guest did last is on record.
  Awaitable<void> EndMachine();
  void Enter(pb::WardenState::Phase phase);
  // Moves to a final state: the first one counts.
  void Finish(pb::WardenState::Phase phase, const std::optional<Error>& why);
  void FailWith(const Error& why);
  asio::any_io_executor executor_;
  SupervisorConfig config_;
  TaskScope tasks_;
  Notifier changed_;
  pb::WardenState state_;
  bool stopping_ = false;
  std::unique_ptr<Doors> doors_;

  std::shared_ptr<RunningMachine> machine_;
  bool machine_ended_ = false;
  std::map<std::string, std::shared_ptr<Execution>> executions_;
  std::deque<std::string> ended_;  // those of them, the oldest first
  size_t running_ = 0;
  GuestWatch guest_watch_;
  Slots slots_;
};

}  // namespace cleanroom::warden
