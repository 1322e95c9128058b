#include "sandbox/supervisor.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <utility>

#include "base/id.h"
#include "http/byte_stream.h"
#include "os/file.h"
#include "vmm/qemu/qemu_backend.h"
#include "vmm/tsc.h"

namespace cleanroom::sandbox {
namespace {

using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// The serials of vmm::MachineSpec's two disks.
constexpr std::string_view kImageSerial = "cr-image";
constexpr std::string_view kDiskSerial = "cr-disk";
constexpr size_t kConsoleTailLines = 60;
// A first boot that takes longer is given up and tried once more (a boot can hang on a busy host).
constexpr milliseconds kFirstBootLimit{15'000};
constexpr size_t kEntropyBytes = 64;
constexpr milliseconds kConsoleDrainLimit{500};

std::string GuestPath(std::string_view method) {
  return std::string("/cleanroom.internal.v1.GuestService/").append(method);
}

Result<std::string> Entropy() {
  std::string out(kEntropyBytes, '\0');
  if (getrandom(out.data(), out.size(), 0) != static_cast<ssize_t>(out.size())) {
    return ErrErrno(ErrorCode::kInternal, "getrandom");
  }
  return out;
}

bool IsFinal(pb::WardenState::Phase phase) {
  return phase == pb::WardenState::PHASE_STOPPED || phase == pb::WardenState::PHASE_FAILED;
}

Awaitable<Result<void>> WaitReadable(asio::posix::stream_descriptor& descriptor) {
  auto [error] = co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
  if (error) co_return Err(ErrorCode::kCanceled, error.message());
  co_return Result<void>();
}

// Whether the descriptor became readable before the deadline.
Awaitable<bool> Readable(asio::posix::stream_descriptor& descriptor,
                         steady_clock::time_point deadline) {
  auto ready = co_await WithDeadline(WaitReadable(descriptor), deadline, "");
  co_return ready.has_value();
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

}  // namespace

Supervisor::Supervisor(asio::any_io_executor executor, SupervisorConfig config)
    : executor_(executor), config_(std::move(config)), tasks_(executor), changed_(executor) {
  state_.set_phase(pb::WardenState::PHASE_IDLE);
}

Supervisor::~Supervisor() = default;

Awaitable<Result<void>> Supervisor::Launch(pb::LaunchRequest request,
                                           rpc::Writer<pb::LaunchEvent>& out) {
  if (!idle())
    co_return Err(ErrorCode::kFailedPrecondition, "the sandbox has been launched already");
  state_.set_phase(pb::WardenState::PHASE_LAUNCHING);
  changed_.NotifyAll();

  if (config_.launch_error) {
    Finish(pb::WardenState::PHASE_FAILED, config_.launch_error->ToString());
    co_return Err(*config_.launch_error);
  }
  auto opened = OpenDoors(request);
  if (!opened) {
    Finish(pb::WardenState::PHASE_FAILED, opened.error().ToString());
    co_return opened;
  }
  std::string kernel_release;
  const auto deadline = steady_clock::now() + milliseconds(request.deadline_ms());
  auto booted = co_await Boot(request, out, deadline, &kernel_release);
  if (!booted) {
    co_await EndMachine();
    Finish(pb::WardenState::PHASE_FAILED, booted.error().ToString());
    co_return booted;
  }
  tasks_.Spawn(WatchMachine());
  state_.set_phase(pb::WardenState::PHASE_READY);
  changed_.NotifyAll();

  pb::LaunchEvent ready;
  ready.mutable_ready()->set_kernel_release(kernel_release);
  auto told = co_await out.Write(ready);
  co_return told;
}

Result<void> Supervisor::OpenDoors(const pb::LaunchRequest& request) {
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

Awaitable<Result<void>> Supervisor::Boot(const pb::LaunchRequest& request,
                                         rpc::Writer<pb::LaunchEvent>& out,
                                         steady_clock::time_point deadline,
                                         std::string* kernel_release) {
  const auto first_deadline = std::min(deadline, steady_clock::now() + kFirstBootLimit);
  auto booted = co_await BootOnce(request, out, first_deadline, kernel_release);
  if (booted || booted.error().code() != ErrorCode::kDeadlineExceeded ||
      steady_clock::now() >= deadline) {
    co_return booted;
  }
  spdlog::warn("sandbox_id={} boot gave no answer in {} ms, trying once more", config_.sandbox_id,
               kFirstBootLimit.count());
  co_await DiscardMachine();
  booted = co_await BootOnce(request, out, deadline, kernel_release);
  co_return booted;
}

Awaitable<Result<void>> Supervisor::BootOnce(const pb::LaunchRequest& request,
                                             rpc::Writer<pb::LaunchEvent>& out,
                                             steady_clock::time_point deadline,
                                             std::string* kernel_release) {
  auto begin = steady_clock::now();
  vmm::MachineSpec spec;
  spec.sandbox_id = config_.sandbox_id;
  spec.kernel = request.kernel_path();
  spec.initrd = request.initrd_path();
  spec.vcpus = request.vcpus();
  spec.memory_mib = static_cast<int>(request.memory_mib());
  spec.image = request.image_path();
  spec.disk = request.disk_path();
  spec.tap_fd = config_.space.tap.get();
  spec.guest_mac = config_.network.guest_mac;
  spec.accelerator = request.accelerator() == ToString(vmm::Accelerator::kKvm)
                         ? vmm::Accelerator::kKvm
                         : vmm::Accelerator::kTcg;
  spec.tsc_khz = request.tsc_khz();
  if (spec.tsc_khz == 0) {
    CR_CO_TRY_ASSIGN(spec.tsc_khz, vmm::MeasureTscKhz());
  }
  auto log = vmm::ConsoleLog::Create((config_.folder / "console.log").string());
  if (!log) co_return Err(std::move(log).error());
  console_ = std::make_shared<vmm::ConsoleLog>(*std::move(log));

  vmm::QemuConfig qemu;
  if (!request.vmm_path().empty()) qemu.binary = request.vmm_path();
  auto machine = vmm::QemuBackend(std::move(qemu)).Launch(spec);
  if (!machine) co_return Err(std::move(machine).error());
  machine_ = *std::move(machine);
  tasks_.Spawn(ReadConsole(console_, machine_->TakeConsole()));
  co_await TellPhase(out, "vmm", begin);

  begin = steady_clock::now();
  rpc::ChannelOptions link;
  link.max_message_bytes = kMaxFrameBytes;
  agent_ = rpc::Channel::Create(http::AdoptSocket(executor_, machine_->TakeAgentStream().release()),
                                std::move(link));
  pb::ConfigureRequest configure;
  auto entropy = Entropy();
  if (!entropy) co_return Err(std::move(entropy).error());
  configure.set_entropy(*entropy);
  configure.set_hostname(config_.sandbox_id);
  configure.set_wall_clock_ns(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                  std::chrono::system_clock::now().time_since_epoch())
                                  .count());
  configure.set_image_device(std::string(kImageSerial));
  configure.set_disk_device(std::string(kDiskSerial));
  pb::Network& network = *configure.mutable_network();
  const os::NetNsConfig& inner = config_.network;
  network.set_interface_mac(inner.guest_mac);
  // Nobody else is on the link: whatever the guest wants goes by the gateway, to be refused at once
  // rather than looked for.
  network.add_addresses(inner.guest_ipv4 + "/32");
  network.add_addresses(inner.guest_ipv6 + "/128");
  network.add_gateways(inner.gateway_ipv4);
  network.add_gateways(inner.gateway_ipv6);
  network.add_nameservers(inner.gateway_ipv4);
  *configure.mutable_env() = request.env();
  configure.set_workdir(request.workdir());
  configure.set_user(request.user());
  auto answer = co_await agent_->Call<pb::ConfigureResponse>(
      GuestPath("Configure"), std::move(configure), rpc::CallOptions{.deadline = deadline});
  if (!answer) {
    Error error = std::move(answer).error();
    // A lost link is told before the machine's end is: wait for what explains it.
    const bool lost = error.code() == ErrorCode::kUnavailable;
    const auto death = co_await DescribeDeath(milliseconds(lost ? 1000 : 0));
    if (death) co_return Err(ErrorCode::kRuntimeLaunchFailed, *death);
    if (error.code() == ErrorCode::kDeadlineExceeded) {
      co_return Err(ErrorCode::kDeadlineExceeded,
                    "the guest did not answer in time after its start");
    }
    co_return Err(std::move(error).Context("setting the guest up"));
  }
  *kernel_release = answer->kernel_release().substr(0, 128);
  co_await TellPhase(out, "boot", begin);
  co_return Result<void>();
}

// Waits for the machine's end and settles the sandbox's.
Awaitable<void> Supervisor::WatchMachine() {
  asio::posix::stream_descriptor watched(executor_, dup(machine_->pidfd()));
  auto [error] = co_await watched.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
  (void)error;
  const bool cancelled = co_await Cancelled();
  if (cancelled) co_return;
  machine_ended_ = true;
  changed_.NotifyAll();
  if (stopping_) co_return;  // Stop settles it
  const auto death = co_await DescribeDeath(milliseconds(0));
  co_await EndMachine();
  Finish(pb::WardenState::PHASE_FAILED,
         Error(ErrorCode::kUnavailable, death.value_or("the machine ended")).ToString());
}

Awaitable<std::optional<std::string>> Supervisor::DescribeDeath(milliseconds limit) {
  if (!machine_) co_return std::nullopt;
  asio::posix::stream_descriptor watched(executor_, dup(machine_->pidfd()));
  const bool ended = co_await Readable(watched, steady_clock::now() + limit);
  if (!ended) co_return std::nullopt;
  auto status = machine_->Wait();
  // What the guest said last is still on its way through the console.
  const auto deadline = steady_clock::now() + kConsoleDrainLimit;
  while (!console_ended_) {
    const bool in_time = co_await changed_.WaitUntil(deadline);
    if (!in_time) break;
  }
  state_.set_console_tail(console_->LastLines(kConsoleTailLines));
  if (console_->panic())
    co_return fmt::format("the guest's kernel panicked: {}", *console_->panic());
  if (!status) co_return std::move(status).error().message();
  co_return fmt::format("the virtual machine {}", status->ToString());
}

Awaitable<void> Supervisor::ReadConsole(std::shared_ptr<vmm::ConsoleLog> log,
                                        os::UniqueFd console) {
  console_ended_ = false;
  asio::posix::stream_descriptor stream(executor_, console.release());
  stream.non_blocking(true);
  while (true) {
    auto [error] = co_await stream.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    if (error) break;
    auto more = log->ReadFrom(stream.native_handle());
    if (!more) {
      spdlog::warn("sandbox_id={} {}", config_.sandbox_id, more.error().ToString());
      continue;  // about the file; the console must be read on, or the guest stalls
    }
    if (!*more) break;
  }
  console_ended_ = true;
  changed_.NotifyAll();
}

Awaitable<void> Supervisor::DiscardMachine() {
  if (machine_) {
    auto killed = machine_->Kill();
    if (!killed) {
      spdlog::error("sandbox_id={} {}", config_.sandbox_id, killed.error().ToString());
    }
  }
  const auto agent = std::exchange(agent_, nullptr);
  if (agent) co_await agent->Close();
  machine_.reset();
}

Awaitable<void> Supervisor::EndMachine() {
  co_await DiscardMachine();
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

Result<void> Supervisor::StartExecution(pb::StartExecutionRequest request) {
  CR_TRY(CheckId(request.execution_id(), "execution id"));
  if (state_.phase() != pb::WardenState::PHASE_READY || stopping_) {
    return Err(ErrorCode::kFailedPrecondition, "the sandbox is not ready");
  }
  if (running_ >= kMaxRunning) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("{} commands run in this sandbox already", running_));
  }
  NetworkLog* const log = config_.network_log;
  const std::string id = request.execution_id();
  CR_TRY_ASSIGN(
      auto execution,
      Execution::Create(executor_, request.execution_id(),
                        config_.folder / "executions" / (request.execution_id() + ".log"),
                        std::move(*request.mutable_start()), milliseconds(request.timeout_ms()),
                        [log, id](pb::ExecutionEnd& end) { log->ExecutionEnded(id, end); }));
  log->ExecutionStarted(id);
  executions_[execution->id()] = execution;
  tasks_.Spawn(RunExecution(std::move(execution)));
  return {};
}

Awaitable<void> Supervisor::RunExecution(std::shared_ptr<Execution> execution) {
  const auto agent = agent_;
  ++running_;
  co_await execution->Run(*agent);
  --running_;
  changed_.NotifyAll();
}

Result<std::shared_ptr<Execution>> Supervisor::FindExecution(const std::string& id) const {
  const auto found = executions_.find(id);
  if (found == executions_.end())
    return Err(ErrorCode::kNotFound, fmt::format("no execution {}", id.substr(0, 64)));
  return found->second;
}

Awaitable<Result<void>> Supervisor::Input(std::string execution_id, pb::ExecInput input) {
  auto execution = FindExecution(execution_id);
  if (!execution) co_return Err(std::move(execution).error());
  const auto agent = agent_;
  if (!agent) co_return Err(ErrorCode::kFailedPrecondition, "the sandbox has ended");
  auto done = co_await (*execution)->Input(*agent, std::move(input));
  co_return done;
}

Awaitable<Result<void>> Supervisor::ReadFile(pb::ReadFileRequest request,
                                             rpc::Writer<pb::FileChunk>& out) {
  if (state_.phase() != pb::WardenState::PHASE_READY) {
    co_return Err(ErrorCode::kFailedPrecondition, "the sandbox is not ready");
  }
  const auto agent = agent_;
  int64_t left = request.max_bytes();
  auto stream =
      co_await agent->CallServerStream<pb::FileChunk>(GuestPath("ReadFile"), std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  while (true) {
    auto chunk = co_await stream->Next();
    if (!chunk) co_return Err(std::move(chunk).error());
    if (!*chunk) co_return Result<void>();
    left -= static_cast<int64_t>((*chunk)->data().size());
    if (left < 0)
      co_return Err(ErrorCode::kResourceExhausted,
                    "the guest sent more of the file than was asked for");
    auto told = co_await out.Write(**chunk);
    if (!told) co_return told;
  }
}

Awaitable<void> Supervisor::Stop(milliseconds grace) {
  if (IsFinal(state_.phase())) co_return;
  if (stopping_) {
    co_await WaitEnded();
    co_return;
  }
  stopping_ = true;
  const auto agent = agent_;
  if (state_.phase() == pb::WardenState::PHASE_READY && grace.count() > 0 && agent) {
    const auto deadline = steady_clock::now() + grace;
    auto asked = co_await agent->Call<pb::ShutdownResponse>(
        GuestPath("Shutdown"), pb::ShutdownRequest(), rpc::CallOptions{.deadline = deadline});
    while (asked && !machine_ended_) {
      const bool in_time = co_await changed_.WaitUntil(deadline);
      if (!in_time) break;
    }
  }
  co_await EndMachine();
  Finish(pb::WardenState::PHASE_STOPPED, "");
}

void Supervisor::Finish(pb::WardenState::Phase phase, const std::string& reason) {
  if (IsFinal(state_.phase())) return;
  pb::WardenState end = state_;
  end.set_phase(phase);
  end.set_reason(reason);
  auto written = os::WriteFileAtomic((config_.folder / "end").string(), end.SerializeAsString());
  if (!written) spdlog::error("sandbox_id={} {}", config_.sandbox_id, written.error().ToString());
  state_ = std::move(end);
  changed_.NotifyAll();
}

void Supervisor::Abandon(const std::string& reason) {
  Finish(pb::WardenState::PHASE_FAILED, Error(ErrorCode::kRuntimeLaunchFailed, reason).ToString());
}

Awaitable<void> Supervisor::WaitEnded() {
  // Executions end with the agent's connection; their records are complete only then.
  while (!IsFinal(state_.phase()) || running_ > 0) co_await changed_.Wait();
}

Awaitable<void> Supervisor::Close() {
  tasks_.Cancel();
  co_await EndMachine();
  co_await tasks_.Join();
}

}  // namespace cleanroom::sandbox
