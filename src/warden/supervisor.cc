#include "warden/supervisor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <variant>

#include "guest_link/lines.h"
#include "guest_link/rehearsal/rehearsal.h"
#include "os/file.h"
#include "telemetry/log.h"
#include "warden/guest_agent.h"
#include "warden/machine_setup.h"
#include "warden_link/ending.h"

namespace cleanroom::warden {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// The first ones read the disks; after the others hardly any code is left that an owner's first
// command translates anew.
constexpr int kHeldRehearsals = 4;
constexpr int kColdRehearsals = 2;
// A first boot that takes longer than this, and than half of what there is, is given up and tried
// once more (a boot can hang on a busy host).
constexpr milliseconds kFirstBootLimit{15'000};
// For the end of a machine to be seen once its link is lost.
constexpr milliseconds kDeathLimit{3000};
bool IsFinal(pb::WardenState::Phase phase) {
  return phase == pb::WardenState::PHASE_STOPPED || phase == pb::WardenState::PHASE_FAILED;
}

Awaitable<void> TellPhase(rpc::Writer<pb::LaunchEvent>& out, std::string name,
                          steady_clock::time_point begin) {
  pb::LaunchEvent event;
  event.mutable_phase()->set_name(std::move(name));
  event.mutable_phase()->set_milliseconds(
      duration<double, std::milli>(steady_clock::now() - begin).count());
  auto told = co_await out.Write(event);
  (void)told;  // a caller who is gone cancels the launch itself
}

// The name of the phase in which a machine is started.
std::string PhaseOf(const vmm::StartFrom& from) {
  if (std::holds_alternative<vmm::Copy>(from)) return "restore";
  return std::holds_alternative<vmm::Fork>(from) ? "fork" : "vmm";
}

}  // namespace

Supervisor::Supervisor(asio::any_io_executor executor, SupervisorConfig config)
    : executor_(executor),
      config_(std::move(config)),
      tasks_(executor),
      changed_(executor),
      guest_watch_(executor),
      slots_(std::move(config_.handover)) {
  state_.set_phase(pb::WardenState::PHASE_IDLE);
}

Supervisor::~Supervisor() = default;

Awaitable<Result<void>> Supervisor::Launch(pb::LaunchRequest request,
                                           rpc::Writer<pb::LaunchEvent>& out) {
  if (!idle() && state_.phase() != pb::WardenState::PHASE_PREPARED)
    co_return Err(ErrorCode::kFailedPrecondition, "the sandbox has been launched already");
  Enter(pb::WardenState::PHASE_LAUNCHING);
  const auto deadline = steady_clock::now() + milliseconds(request.deadline_ms());
  const auto begin = steady_clock::now();
  auto launched = OpenDoors(request);
  // A prepared sandbox got its network before it was asked for.
  const auto before = machine_ ? steady_clock::duration() : config_.space_took;
  if (launched) co_await TellPhase(out, "network", begin - before);
  if (launched) launched = co_await StartAndIdentify(std::move(request), out, deadline);
  if (!launched) {
    co_await EndMachine();
    // Whoever stops the sandbox settles it.
    if (!stopping_) FailWith(launched.error());
  }
  co_return launched;
}

Awaitable<Result<void>> Supervisor::StartAndIdentify(pb::LaunchRequest request,
                                                     rpc::Writer<pb::LaunchEvent>& out,
                                                     TimePoint deadline) {
  const bool boots = !machine_ && !request.machine().has_copy() && !request.machine().has_fork();
  Result<void> started;
  if (!machine_) started = co_await StartMachine(request.machine(), out, deadline);
  CR_CO_TRY(started);
  auto machine = machine_;
  CR_CO_TRY(CheckNotStopped(machine));
  auto begin = steady_clock::now();
  // A boot can hang on a busy host: one that takes too long is given up and tried once more.
  const auto patience = std::max<steady_clock::duration>(kFirstBootLimit, (deadline - begin) / 2);
  const auto first = boots ? std::min(deadline, begin + patience) : deadline;
  auto identified = co_await Identify(machine, request, first);
  CR_CO_TRY(CheckNotStopped(machine));
  if (!identified && first < deadline &&
      identified.error().code() == ErrorCode::kDeadlineExceeded) {
    Log(LogLevel::kWarn,
        fmt::format("boot gave no answer in {} ms, trying once more",
                    std::chrono::round<milliseconds>(patience).count()),
        Field("sandbox_id", config_.sandbox_id));
    machine_ = nullptr;
    co_await machine->End();
    CR_CO_TRY(CheckNotStopped(nullptr));
    started = co_await StartMachine(request.machine(), out, deadline);
    CR_CO_TRY(started);
    machine = machine_;
    CR_CO_TRY(CheckNotStopped(machine));
    identified = co_await Identify(machine, request, deadline);
  }
  if (!identified) co_return Err(std::move(identified).error());
  co_await TellPhase(out, boots ? "boot" : "agent", begin);
  CR_CO_TRY(CheckNotStopped(machine));
  tasks_.Spawn(WatchMachine(machine));
  if (request.guest_silence_ms() > 0)
    guest_watch_.set_silence(milliseconds(request.guest_silence_ms()));
  tasks_.Spawn(WatchGuest(machine, machine->agent()));
  Enter(pb::WardenState::PHASE_READY);
  pb::LaunchEvent ready;
  ready.mutable_ready()->set_kernel_release(*identified);
  ready.mutable_ready()->set_vmm_pid(machine->vmm_pid());
  auto told = co_await out.Write(ready);
  co_return told;
}

Result<void> Supervisor::CheckNotStopped(const std::shared_ptr<RunningMachine>& machine) const {
  if (!stopping_ && !IsFinal(state_.phase()) && machine == machine_) return {};
  return Err(ErrorCode::kCanceled, "the sandbox was stopped");
}

Awaitable<Result<void>> Supervisor::Prepare(pb::PrepareMachineRequest request,
                                            rpc::Writer<pb::LaunchEvent>& out) {
  if (!idle()) co_return Err(ErrorCode::kFailedPrecondition, "the sandbox is not new");
  Enter(pb::WardenState::PHASE_PREPARING);
  auto prepared = co_await PrepareMachine(std::move(request), out);
  while (prepared && (state_.phase() == pb::WardenState::PHASE_PREPARED ||
                      state_.phase() == pb::WardenState::PHASE_HELD)) {
    co_await changed_.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) prepared = Err(ErrorCode::kCanceled, "nobody wants the prepared machine");
    if (machine_ended_) prepared = Err(ErrorCode::kUnavailable, "the prepared machine ended");
  }
  if (!prepared) {
    co_await EndMachine();
    FailWith(prepared.error());
  }
  co_return prepared;
}

Awaitable<Result<void>> Supervisor::PrepareMachine(pb::PrepareMachineRequest request,
                                                   rpc::Writer<pb::LaunchEvent>& out) {
  if (config_.launch_error) co_return Err(*config_.launch_error);
  const auto deadline = steady_clock::now() + milliseconds(request.deadline_ms());
  if (request.hold() && !config_.fork_listener) {
    co_return Err(ErrorCode::kFailedPrecondition, "there is no socket to hold a machine with");
  }
  auto started = co_await StartMachine(std::move(*request.mutable_machine()), out, deadline);
  CR_CO_TRY(started);
  const int rehearsals = request.hold() ? kHeldRehearsals : 1;
  for (int i = 0; i < rehearsals; ++i) {
    const auto machine = machine_;
    if (!machine) co_return Err(ErrorCode::kCanceled, "the warden was stopped");
    CR_CO_TRY_ASSIGN(pb::ConfigureRequest identity,
                     IdentityOf(config_.sandbox_id, config_.network));
    // What an owner runs has not been read yet.
    identity.set_drop_caches(request.hold() && i < kColdRehearsals);
    auto rehearsed = co_await guest_link::Rehearse(machine->agent(), std::move(identity), deadline);
    CR_CO_TRY(rehearsed);
    // Forks begin with a new connection, too.
    if (request.hold()) rehearsed = co_await machine->HangUp(guest_link::kWaitingLine, deadline);
    CR_CO_TRY(rehearsed);
  }
  if (state_.phase() != pb::WardenState::PHASE_PREPARING || !machine_) {
    co_return Err(ErrorCode::kCanceled, "the warden was stopped");
  }
  if (request.hold()) CR_CO_TRY(machine_->Hold(deadline));
  tasks_.Spawn(WatchMachine(machine_));
  Enter(request.hold() ? pb::WardenState::PHASE_HELD : pb::WardenState::PHASE_PREPARED);
  pb::LaunchEvent ready;
  ready.mutable_ready()->set_vmm_pid(machine_->vmm_pid());
  auto told = co_await out.Write(ready);
  co_return told;
}

Awaitable<Result<void>> Supervisor::MakeTemplate(pb::MakeTemplateRequest request) {
  if (!idle()) co_return Err(ErrorCode::kFailedPrecondition, "the sandbox is not new");
  Enter(pb::WardenState::PHASE_PREPARING);
  auto made = co_await SaveTemplate(std::move(request));
  co_await EndMachine();
  if (made) {
    Finish(pb::WardenState::PHASE_STOPPED, std::nullopt);
  } else {
    FailWith(made.error());
  }
  co_return made;
}

Awaitable<Result<void>> Supervisor::SaveTemplate(pb::MakeTemplateRequest request) {
  if (config_.launch_error) co_return Err(*config_.launch_error);
  const auto deadline = steady_clock::now() + milliseconds(request.deadline_ms());
  CR_CO_TRY_ASSIGN(vmm::MachineSpec spec,
                   MachineSpecOf(config_.sandbox_id, config_.network, config_.space.tap.get(),
                                 request.machine()));
  spec.extra_cmdline = PrepareOption(config_.network);
  CR_CO_TRY_ASSIGN(const auto backend, OpenBackendOf(request.machine(), -1));
  vmm::StartFrom from = vmm::Boot{.memory_file = (config_.folder / "memory").string()};
  CR_CO_TRY_ASSIGN(machine_, RunningMachine::Start(executor_, config_.folder, *backend, spec,
                                                   std::move(from), deadline));
  const auto machine = machine_;
  auto primed = co_await machine->WaitForLine(guest_link::kPrimedLine, deadline);
  CR_CO_TRY(primed);
  auto saved = machine->Save((config_.folder / "state").string(), deadline);
  co_return saved;
}

Result<void> Supervisor::OpenDoors(const pb::LaunchRequest& request) {
  if (config_.launch_error) return Err(*config_.launch_error);
  DoorsConfig config{.policy_json = request.policy_json(),
                     .resolvers = {request.resolvers().begin(), request.resolvers().end()},
                     .gateway = {config_.network.gateway_ipv4, config_.network.gateway_ipv6},
                     .sockets = std::move(config_.space.doors)};
  CR_TRY_ASSIGN(doors_, Doors::Open(executor_, std::move(config), *config_.network_log));
  return {};
}

Result<void> Supervisor::SetStage(const pb::SetStageRequest& request) {
  CR_TRY_ASSIGN(const policy::Stage stage, ParseStage(request.stage()));
  if (!doors_) return Err(ErrorCode::kFailedPrecondition, "the sandbox does not run");
  doors_->SetStage(stage);
  return {};
}

Awaitable<Result<void>> Supervisor::StartMachine(pb::Machine machine,
                                                 rpc::Writer<pb::LaunchEvent>& out,
                                                 TimePoint deadline) {
  const auto begin = steady_clock::now();
  CR_CO_TRY_ASSIGN(const auto backend, OpenBackendOf(machine, config_.fork_listener.get()));
  CR_CO_TRY_ASSIGN(const vmm::MachineSpec spec, MachineSpecOf(config_.sandbox_id, config_.network,
                                                              config_.space.tap.get(), machine));
  vmm::StartFrom from = StartFromOf(machine, config_.fork_connection);
  const std::string phase = PhaseOf(from);
  if (std::holds_alternative<vmm::Copy>(from)) {
    pb::LaunchEvent begun;
    begun.mutable_begun();
    auto told = co_await out.Write(begun);
    CR_CO_TRY(told);
  }
  CR_CO_TRY_ASSIGN(machine_, RunningMachine::Start(executor_, config_.folder, *backend, spec,
                                                   std::move(from), deadline));
  if (config_.fork_listener) machine_->ExpectHangUps();
  co_await TellPhase(out, phase, begin);
  co_return Result<void>();
}

Awaitable<Result<std::string>> Supervisor::Identify(std::shared_ptr<RunningMachine> machine,
                                                    const pb::LaunchRequest& request,
                                                    TimePoint deadline) {
  CR_CO_TRY_ASSIGN(pb::ConfigureRequest configure, IdentityOf(config_.sandbox_id, config_.network));
  *configure.mutable_env() = request.env();
  configure.set_workdir(request.workdir());
  configure.set_user(request.user());
  const auto agent = machine->agent();
  auto release = co_await GiveIdentity(agent, std::move(configure), deadline);
  if (release) co_return release;
  Error error = co_await Explain(machine, std::move(release).error());
  co_return Err(std::move(error));
}

Awaitable<Error> Supervisor::Explain(std::shared_ptr<RunningMachine> machine, Error error) {
  // A lost link is told before the machine's end is: wait for what explains it.
  const bool lost = error.code() == ErrorCode::kUnavailable;
  const auto death = co_await machine->DescribeDeath(lost ? kDeathLimit : milliseconds(0));
  state_.set_console_tail(machine->ConsoleTail());
  if (death) co_return Error(ErrorCode::kRuntimeLaunchFailed, *death);
  if (error.code() == ErrorCode::kDeadlineExceeded) {
    co_return Error(ErrorCode::kDeadlineExceeded,
                    "the guest did not answer in time after its start");
  }
  co_return std::move(error).Context("setting the guest up");
}

// Waits for the machine's end and settles the sandbox's.
Awaitable<void> Supervisor::WatchMachine(std::shared_ptr<RunningMachine> machine) {
  co_await machine->WaitEnd();
  const bool cancelled = co_await Cancelled();
  if (cancelled || machine != machine_) co_return;
  machine_ended_ = true;
  changed_.NotifyAll();
  // Stop, or whoever prepares the machine, settles it.
  if (stopping_ || state_.phase() != pb::WardenState::PHASE_READY) co_return;
  const auto death = co_await machine->DescribeDeath(milliseconds(0));
  state_.set_console_tail(machine->ConsoleTail());
  co_await EndMachine();
  FailWith(Error(ErrorCode::kUnavailable, death.value_or("the machine ended")));
}

Awaitable<void> Supervisor::WatchGuest(std::shared_ptr<RunningMachine> machine,
                                       std::shared_ptr<rpc::Channel> agent) {
  const auto outcome = co_await guest_watch_.Wait(agent);
  if (outcome == GuestWatch::Outcome::kCancelled || machine != machine_ || stopping_) co_return;
  Error why(ErrorCode::kDeadlineExceeded,
            fmt::format("the guest has not answered for {:g} s",
                        duration<double>(guest_watch_.silence()).count()));
  if (outcome == GuestWatch::Outcome::kLinkLost) {
    why = Error(ErrorCode::kUnavailable, "the guest's agent ended its connection");
    // A lost link is told before the machine's end is, which then says more (WatchMachine).
    const auto death = co_await machine->DescribeDeath(kDeathLimit);
    if (death || machine != machine_ || stopping_) co_return;
  }
  for (const auto& [id, execution] : executions_) execution->GiveUp(why);
  state_.set_console_tail(machine->ConsoleTail());
  co_await EndMachine();
  FailWith(why);
}

Awaitable<void> Supervisor::EndMachine() {
  const auto machine = std::exchange(machine_, nullptr);
  if (machine) co_await machine->End();
  const std::unique_ptr<Doors> doors = std::exchange(doors_, nullptr);
  if (doors) co_await doors->Close();
}

Awaitable<Result<void>> Supervisor::WatchState(rpc::Writer<pb::WardenState>& out) {
  while (true) {
    const pb::WardenState now = state_;
    auto told = co_await out.Write(now);
    if (!told) co_return told;
    if (IsFinal(now.phase())) co_return Result<void>();
    while (state_.phase() == now.phase()) {
      co_await changed_.Wait();
      const bool cancelled = co_await Cancelled();
      if (cancelled) co_return Err(ErrorCode::kCanceled, "no longer watched");
    }
  }
}

Awaitable<Result<void>> Supervisor::Attach(pb::AttachRequest request) {
  if (state_.phase() != pb::WardenState::PHASE_READY || stopping_ || !machine_) {
    co_return Err(ErrorCode::kFailedPrecondition, "the sandbox is not ready");
  }
  const auto machine = machine_;
  const auto deadline = steady_clock::now() + milliseconds(request.deadline_ms());
  CR_CO_TRY_ASSIGN(auto mounts, slots_.Fill(request, *machine, deadline));
  for (pb::MountRequest& mount : mounts) {
    auto mounted = co_await MountLayers(machine->agent(), std::move(mount), deadline);
    if (mounted) continue;
    Error why = co_await Explain(machine, std::move(mounted).error());
    co_return Err(std::move(why));
  }
  co_return Result<void>();
}

Awaitable<void> Supervisor::Stop(milliseconds grace) {
  if (IsFinal(state_.phase())) co_return;
  if (stopping_) {
    co_await WaitEnded();
    co_return;
  }
  stopping_ = true;
  if (state_.phase() == pb::WardenState::PHASE_READY && grace.count() > 0 && machine_) {
    const auto agent = machine_->agent();
    const auto deadline = steady_clock::now() + grace;
    const bool asked = co_await AskToShutDown(agent, deadline);
    while (asked && !machine_ended_) {
      const bool in_time = co_await changed_.WaitUntil(deadline);
      const bool cancelled = co_await Cancelled();
      if (!in_time || cancelled) break;
    }
  }
  co_await EndMachine();
  Finish(pb::WardenState::PHASE_STOPPED, std::nullopt);
}

void Supervisor::Enter(pb::WardenState::Phase phase) {
  state_.set_phase(phase);
  changed_.NotifyAll();
}

void Supervisor::FailWith(const Error& why) { Finish(pb::WardenState::PHASE_FAILED, why); }

void Supervisor::Finish(pb::WardenState::Phase phase, const std::optional<Error>& why) {
  if (IsFinal(state_.phase())) return;
  pb::WardenState end = state_;
  end.set_phase(phase);
  if (why) warden_link::SetWhy(*why, end);
  auto written = os::ReplaceFile((config_.folder / "end").string(), end.SerializeAsString());
  if (!written)
    Log(LogLevel::kError, written.error().ToString(), Field("sandbox_id", config_.sandbox_id));
  state_ = std::move(end);
  changed_.NotifyAll();
}

void Supervisor::Abandon(const std::string& reason) {
  FailWith(Error(ErrorCode::kRuntimeLaunchFailed, reason));
}

Awaitable<void> Supervisor::WaitEnded() {
  // Executions end with the agent's connection; their records are complete only then.
  while (!IsFinal(state_.phase()) || running_ > 0) {
    co_await changed_.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return;
  }
}

Awaitable<void> Supervisor::Close() {
  tasks_.Cancel();
  co_await EndMachine();
  co_await tasks_.Join();
}

}  // namespace cleanroom::warden
