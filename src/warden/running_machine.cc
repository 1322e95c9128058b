#include "warden/running_machine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "http/byte_stream.h"
#include "os/file.h"
#include "telemetry/log.h"
#include "warden_link/spool.h"

namespace cleanroom::warden {
namespace {

using telemetry::Log;
using telemetry::LogLevel;

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr size_t kConsoleTailLines = 60;
constexpr milliseconds kConsoleDrainLimit{500};
constexpr milliseconds kKillLimit{10'000};

size_t CountIn(std::string_view text, std::string_view line) {
  size_t count = 0;
  for (size_t at = text.find(line); at != text.npos; at = text.find(line, at + line.size())) {
    ++count;
  }
  return count;
}

}  // namespace

Result<std::shared_ptr<RunningMachine>> RunningMachine::Start(asio::any_io_executor executor,
                                                              const std::filesystem::path& folder,
                                                              const vmm::Backend& backend,
                                                              const vmm::MachineSpec& spec,
                                                              vmm::StartFrom from,
                                                              TimePoint deadline) {
  CR_TRY_ASSIGN(auto log, vmm::ConsoleLog::Create((folder / "console.log").string()));
  CR_TRY_ASSIGN(auto machine, backend.Start(spec, std::move(from), deadline));
  os::UniqueFd pidfd(fcntl(machine->pidfd(), F_DUPFD_CLOEXEC, 0));
  if (!pidfd) return ErrErrno(ErrorCode::kResourceExhausted, "watch the virtual machine");
  std::shared_ptr<RunningMachine> made(new RunningMachine(std::move(executor), std::move(machine),
                                                          std::move(pidfd), std::move(log)));
  made->tasks_.Spawn(made->ReadConsole(made->machine_->TakeConsole()));
  return made;
}

RunningMachine::RunningMachine(asio::any_io_executor executor,
                               std::unique_ptr<vmm::Machine> machine, os::UniqueFd pidfd,
                               vmm::ConsoleLog log)
    : executor_(executor),
      machine_(std::move(machine)),
      pidfd_(executor, pidfd.release()),
      console_(std::move(log)),
      changed_(executor),
      tasks_(executor) {}

const std::shared_ptr<rpc::Channel>& RunningMachine::agent() {
  if (!agent_) {
    rpc::ChannelOptions link;
    link.max_message_bytes = warden_link::kMaxFrameBytes;
    os::UniqueFd stream = agent_stream_ ? std::move(agent_stream_) : machine_->TakeAgentStream();
    if (hangs_up_) agent_stream_ = os::UniqueFd(fcntl(stream.get(), F_DUPFD_CLOEXEC, 0));
    agent_ = rpc::Channel::Create(http::AdoptSocket(executor_, stream.release()), std::move(link));
  }
  return agent_;
}

Awaitable<void> RunningMachine::ReadConsole(os::UniqueFd console) {
  asio::posix::stream_descriptor stream(executor_, console.release());
  stream.non_blocking(true);
  while (true) {
    auto [error] = co_await stream.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    if (error) break;
    auto more = console_.ReadFrom(stream.native_handle());
    changed_.NotifyAll();
    if (!more) {
      Log(LogLevel::kWarn, more.error().ToString());
      continue;  // about the file; the console must be read on, or the guest stalls
    }
    if (!*more) break;
  }
  console_ended_ = true;
  changed_.NotifyAll();
}

Awaitable<Result<void>> RunningMachine::WaitReadable() {
  auto [error] = co_await pidfd_.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
  if (error) co_return Err(ErrorCode::kCanceled, error.message());
  co_return Result<void>();
}

Awaitable<void> RunningMachine::WaitEnd() {
  auto waited = co_await WaitReadable();
  (void)waited;
}

Awaitable<bool> RunningMachine::Ended(TimePoint deadline) {
  auto ended = co_await WithDeadline(WaitReadable(), deadline, "");
  co_return ended.has_value();
}

Awaitable<std::optional<std::string>> RunningMachine::DescribeDeath(milliseconds limit) {
  const bool ended = co_await Ended(steady_clock::now() + limit);
  if (!ended) co_return std::nullopt;
  auto status = machine_->Wait();
  co_await DrainConsole();
  if (console_.panic()) co_return fmt::format("the guest's kernel panicked: {}", *console_.panic());
  if (!status) co_return std::move(status).error().message();
  co_return fmt::format("the virtual machine {}", status->ToString());
}

// What the guest said last is still on its way when the VMM has ended.
Awaitable<void> RunningMachine::DrainConsole() {
  const auto deadline = steady_clock::now() + kConsoleDrainLimit;
  while (!console_ended_) {
    const bool in_time = co_await changed_.WaitUntil(deadline);
    const bool cancelled = co_await Cancelled();
    if (!in_time || cancelled) break;
  }
}

Awaitable<Result<void>> RunningMachine::WaitForLine(std::string_view line, TimePoint deadline,
                                                    size_t count) {
  while (CountIn(ConsoleTail(), line) < count) {
    if (console_ended_) {
      const auto death = co_await DescribeDeath(milliseconds(1000));
      co_return Err(ErrorCode::kRuntimeLaunchFailed,
                    death.value_or("the machine closed its console"));
    }
    const bool in_time = co_await changed_.WaitUntil(deadline);
    if (!in_time) co_return Err(ErrorCode::kDeadlineExceeded, "the guest was not ready in time");
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "cancelled while the guest got ready");
  }
  co_return Result<void>();
}

Result<void> RunningMachine::Save(const std::string& state_file, TimePoint deadline) {
  CR_TRY_ASSIGN(const os::UniqueFd state, os::Open(state_file, O_RDWR | O_CREAT | O_EXCL, 0600));
  return machine_->Save(state.get(), deadline);
}

Awaitable<Result<void>> RunningMachine::HangUp(std::string_view line, TimePoint deadline) {
  const auto agent = std::exchange(agent_, nullptr);
  if (!agent) co_return Result<void>();
  auto said = co_await agent->HangUp(deadline);
  co_await agent->Close();
  CR_CO_TRY(said);
  auto waiting = co_await WaitForLine(line, deadline, ++goodbyes_);
  co_return waiting;
}

Result<void> RunningMachine::Hold(TimePoint deadline) { return machine_->Pause(deadline); }

std::string RunningMachine::ConsoleTail() const { return console_.LastLines(kConsoleTailLines); }

Awaitable<void> RunningMachine::End() {
  if (!std::exchange(ending_, true)) {
    co_await asio::this_coro::reset_cancellation_state();  // whoever is cancelled still reaps
    auto killed = machine_->Kill();
    if (!killed) Log(LogLevel::kError, killed.error().ToString());
    if (agent_) co_await agent_->Close();
    const bool gone = co_await Ended(steady_clock::now() + kKillLimit);
    auto status = gone ? machine_->Wait() : Err(ErrorCode::kInternal, "a killed VMM does not end");
    if (!status) Log(LogLevel::kError, status.error().ToString());
    co_await DrainConsole();
    tasks_.Cancel();
    co_await tasks_.Join();
    ended_ = true;
    changed_.NotifyAll();
  }
  while (!ended_) {
    co_await asio::this_coro::reset_cancellation_state();
    co_await changed_.Wait();
  }
}

}  // namespace cleanroom::warden
