#include "server/warden/warden_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <utility>

#include "base/id.h"
#include "os/file.h"
#include "os/socket.h"

namespace cleanroom::server {
namespace {

constexpr std::string_view kProgramName = "cleanroom-warden";
constexpr int kListenFd = 3;
constexpr int kForkFd = 4;
constexpr int kHandoverFd = 5;
// Longest command line that is looked at; ours are far shorter.
constexpr size_t kMaxCommandLine = 16U << 10;

Awaitable<Result<void>> WaitReadable(asio::posix::stream_descriptor& descriptor) {
  auto [error] = co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
  if (error) co_return Err(ErrorCode::kCanceled, "cancelled while waiting for a process");
  co_return Result<void>();
}

}  // namespace

Result<WardenProcess> WardenProcess::Start(const WardenSpec& spec) {
  CR_TRY_ASSIGN(const auto listener, os::ListenUnix(spec.folder + "/warden.sock"));
  CR_TRY_ASSIGN(auto handover, os::SocketPair());
  CR_TRY_ASSIGN(const auto log,
                os::Open(spec.folder + "/warden.log", O_WRONLY | O_CREAT | O_APPEND, 0600));
  os::SpawnOptions options;
  options.env = std::vector<std::string>();
  options.fds = {{.child = kListenFd, .parent = listener.get()},
                 {.child = kHandoverFd, .parent = handover.second.get()},
                 {.child = STDERR_FILENO, .parent = log.get()}};
  options.cwd = spec.folder;
  options.new_session = true;
  std::vector<std::string> argv = {spec.program, "--sandbox-id", spec.sandbox_id.text(), "--dir",
                                   spec.folder};
  const auto add = [&argv](const char* name, std::string value) {
    argv.emplace_back(name);
    argv.push_back(std::move(value));
  };
  for (const std::string& path : spec.readable) add("--read", path);
  for (const std::string& path : spec.writable) add("--write", path);
  add("--handover", std::to_string(kHandoverFd));
  if (spec.user) add("--user", std::to_string(*spec.user));
  if (spec.fork_listener >= 0) {
    options.fds.push_back({.child = kForkFd, .parent = spec.fork_listener});
    add("--hold", std::to_string(kForkFd));
  } else if (spec.fork_connection >= 0) {
    options.fds.push_back({.child = kForkFd, .parent = spec.fork_connection});
    add("--fork", std::to_string(kForkFd));
  }
  auto child = os::Process::Spawn(argv, options);
  if (!child) {
    return Err(Error(ErrorCode::kRuntimeLaunchFailed, child.error().message())
                   .Context(fmt::format("cannot start the warden {}", spec.program)));
  }
  os::UniqueFd pidfd(fcntl(child->pidfd(), F_DUPFD_CLOEXEC, 0));
  if (!pidfd) return ErrErrno(ErrorCode::kResourceExhausted, "cannot duplicate a pidfd");
  const pid_t pid = child->pid();
  WardenProcess process(pid, std::move(pidfd), std::move(*child));
  process.handover_ = std::move(handover.first);
  return process;
}

Result<void> WardenProcess::HandOver(std::span<const int> fds) {
  if (!handover_) {
    return Err(ErrorCode::kFailedPrecondition,
               "a sandbox that was found again gets no further files");
  }
  // A byte for them to travel with.
  return os::SendHandover(handover_.get(), fds, "f");
}

Result<WardenProcess> WardenProcess::Adopt(const FoundWarden& found) {
  os::UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, found.pid, 0)));
  if (!pidfd) return ErrErrno(ErrorCode::kNotFound, fmt::format("warden {} is gone", found.pid));
  // The number may have gone to another process between the search and pidfd_open: look again.
  auto line = os::ReadFile(fmt::format("/proc/{}/cmdline", found.pid), kMaxCommandLine);
  if (line) {
    const std::string parent = std::filesystem::path(found.folder).parent_path();
    const auto again = ParseWardenCommandLine(*line, parent);
    if (again && again->sandbox_id == found.sandbox_id) {
      return WardenProcess(found.pid, std::move(pidfd), std::nullopt);
    }
  }
  return Err(ErrorCode::kNotFound, fmt::format("warden {} is gone", found.pid));
}

Awaitable<bool> WardenProcess::WaitEnd(std::chrono::steady_clock::time_point deadline) {
  const auto executor = co_await asio::this_coro::executor;
  asio::posix::stream_descriptor descriptor(executor, fcntl(pidfd_.get(), F_DUPFD_CLOEXEC, 0));
  auto ended = co_await WithDeadline(WaitReadable(descriptor), deadline, "the end of the warden");
  if (!ended) co_return false;
  if (child_) {
    auto status = child_->Wait();
    if (status) end_text_ = status->ToString();
  }
  co_return true;
}

void WardenProcess::Kill() {
  if (child_) {
    (void)child_->Kill(SIGKILL);
    return;
  }
  // ESRCH: it has ended.
  (void)syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
}

std::optional<FoundWarden> ParseWardenCommandLine(std::string_view command_line,
                                                  std::string_view sandboxes_dir) {
  std::vector<std::string_view> arguments;
  while (!command_line.empty()) {
    const size_t end = command_line.find('\0');
    arguments.push_back(command_line.substr(0, end));
    if (end == std::string_view::npos) break;
    command_line.remove_prefix(end + 1);
  }
  if (arguments.empty() || std::filesystem::path(arguments[0]).filename() != kProgramName)
    return std::nullopt;
  FoundWarden found{};
  for (size_t i = 1; i + 1 < arguments.size(); ++i) {
    if (arguments[i] == "--sandbox-id") found.sandbox_id = SandboxId(std::string(arguments[i + 1]));
    if (arguments[i] == "--dir") found.folder = arguments[i + 1];
  }
  if (!IsId(found.sandbox_id.text())) return std::nullopt;
  const std::filesystem::path expected =
      std::filesystem::path(sandboxes_dir) / found.sandbox_id.text();
  if (found.folder != expected.string()) return std::nullopt;
  return found;
}

std::vector<FoundWarden> FindWardens(const std::string& sandboxes_dir) {
  std::vector<FoundWarden> all;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc", error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename();
    pid_t pid = 0;
    const auto [rest, status] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (status != std::errc() || rest != name.data() + name.size()) continue;
    // A process that ends meanwhile, or is not ours to read, is no warden of ours.
    auto line = os::ReadFile(fmt::format("/proc/{}/cmdline", pid), kMaxCommandLine);
    if (!line) continue;
    auto found = ParseWardenCommandLine(*line, sandboxes_dir);
    if (!found) continue;
    found->pid = pid;
    all.push_back(std::move(*found));
  }
  return all;
}

}  // namespace cleanroom::server
