#include "vmm/qemu/fork.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "os/file.h"
#include "os/process.h"
#include "os/socket.h"
#include "vmm/qemu/preload/fork_request.h"

namespace cleanroom::vmm {
namespace {

// A fork takes a few milliseconds; many that are asked for at once wait for each other.
constexpr int kAnswerSeconds = 5;

struct Told {
  pid_t pid;
  os::UniqueFd pidfd;
};

Result<Told> ReceiveAnswer(int connection) {
  auto message = os::ReceiveMessage(connection);
  if (!message) {
    return Err(ErrorCode::kUnavailable,
               "the held machine does not answer: " + message.error().message());
  }
  ForkAnswer answer;
  if (message->text.size() != sizeof answer) {
    return Err(ErrorCode::kRuntimeLaunchFailed, "fork a held machine: no such answer is known");
  }
  std::memcpy(&answer, message->text.data(), sizeof answer);
  if (answer.error != 0) {
    const std::string_view step(answer.step, strnlen(answer.step, sizeof answer.step));
    return Err(Error::FromErrno(ErrorCode::kRuntimeLaunchFailed, answer.error,
                                fmt::format("fork a held machine: {}", step)));
  }
  if (message->fds.size() != 1 || message->sender <= 0) {
    return Err(ErrorCode::kRuntimeLaunchFailed, "fork a held machine: the answer is not whole");
  }
  return Told{.pid = message->sender, .pidfd = std::move(message->fds[0])};
}

}  // namespace

Result<std::unique_ptr<QemuMachine>> ForkHeld(const ForkSpec& spec, os::UniqueFd connection) {
  ForkRequest request;
  request.namespaces = os::kChildNamespaces;
  if (spec.sandbox_id.size() == sizeof request.sandbox_id) {
    std::memcpy(request.sandbox_id, spec.sandbox_id.data(), sizeof request.sandbox_id);
  }
  CR_TRY_ASSIGN(auto agent, os::SocketPair());
  CR_TRY_ASSIGN(auto console, os::SocketPair());
  CR_TRY_ASSIGN(auto monitor, os::SocketPair());
  CR_TRY_ASSIGN(const os::UniqueFd disk, os::Open(spec.disk, O_RDWR));
  std::vector<int> fds(kForkFds);
  fds[kForkAgent] = agent.second.get();
  fds[kForkMonitor] = monitor.second.get();
  fds[kForkConsole] = console.second.get();
  fds[kForkDisk] = disk.get();
  fds[kForkTap] = spec.tap_fd;
  if (spec.tap_fd < 0) fds.pop_back();

  const int on = 1;
  const timeval patience{.tv_sec = kAnswerSeconds, .tv_usec = 0};
  if (setsockopt(connection.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) {
    return ErrErrno(ErrorCode::kInternal, "prepare for a fork");
  }
  CR_TRY(os::SendHandover(connection.get(), fds,
                          {reinterpret_cast<const char*>(&request), sizeof request}));
  CR_TRY_ASSIGN(Told told, ReceiveAnswer(connection.get()));
  return std::make_unique<QemuMachine>(os::Process::Adopt(told.pid, std::move(told.pidfd)),
                                       QemuMachine::Ends{.agent = std::move(agent.first),
                                                         .console = std::move(console.first),
                                                         .monitor = std::move(monitor.first),
                                                         .lifeline = std::move(connection)});
}

}  // namespace cleanroom::vmm
