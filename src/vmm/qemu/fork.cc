#include "vmm/qemu/fork.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
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
  ForkAnswer answer;
  pid_t pid = 0;
  os::UniqueFd pidfd;
};

Result<Told> ReceiveAnswer(int connection) {
  Told told;
  iovec part{&told.answer, sizeof told.answer};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int))> control =
      {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t received = 0;
  do {
    received = recvmsg(connection, &message, MSG_WAITALL | MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received != static_cast<ssize_t>(sizeof told.answer)) {
    return Err(ErrorCode::kUnavailable, "the held machine does not answer");
  }
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET) continue;
    if (header->cmsg_type == SCM_CREDENTIALS) {
      ucred sender;
      std::memcpy(&sender, CMSG_DATA(header), sizeof sender);
      told.pid = sender.pid;
    } else if (header->cmsg_type == SCM_RIGHTS) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
      told.pidfd = os::UniqueFd(fd);
    }
  }
  return told;
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
  if (told.answer.error != 0) {
    const std::string_view step(told.answer.step,
                                strnlen(told.answer.step, sizeof told.answer.step));
    return Err(Error::FromErrno(ErrorCode::kRuntimeLaunchFailed, told.answer.error,
                                fmt::format("fork a held machine: {}", step)));
  }
  if (!told.pidfd || told.pid <= 0) {
    return Err(ErrorCode::kRuntimeLaunchFailed, "fork a held machine: the answer is not whole");
  }
  return std::make_unique<QemuMachine>(os::Process::Adopt(told.pid, std::move(told.pidfd)),
                                       QemuMachine::Ends{.agent = std::move(agent.first),
                                                         .console = std::move(console.first),
                                                         .monitor = std::move(monitor.first),
                                                         .lifeline = std::move(connection)});
}

}  // namespace cleanroom::vmm
