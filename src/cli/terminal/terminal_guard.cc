#include "cli/terminal/terminal_guard.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "cli/terminal/screen_modes.h"

namespace cleanroom::cli {
namespace {

// Says that we end by ourselves. What is to be undone begins with an escape.
constexpr char kDismissed = '.';
// For a terminal whose reader does not read.
constexpr int kWriteMilliseconds = 1000;

// Everything below runs in the child of a fork: system calls only.
struct Guarded {
  int terminal;
  int screen;  // -1: none
  int socket;
};

// The descriptors at fixed places, and no other: ours are also held by whoever waits for their end.
Guarded KeepOnly(const Guarded& from) {
  constexpr int kFree = 16;  // above the places
  const int terminal = fcntl(from.terminal, F_DUPFD, kFree);
  const int screen = from.screen < 0 ? -1 : fcntl(from.screen, F_DUPFD, kFree);
  const int socket = fcntl(from.socket, F_DUPFD, kFree);
  Guarded kept{.terminal = dup2(terminal, 0), .screen = -1, .socket = dup2(socket, 2)};
  close(1);
  if (screen >= 0) kept.screen = dup2(screen, 1);
  syscall(SYS_close_range, 3U, ~0U, 0U);
  return kept;
}

bool SameMode(const termios& a, const termios& b) {
  return a.c_iflag == b.c_iflag && a.c_oflag == b.c_oflag && a.c_lflag == b.c_lflag;
}

[[noreturn]] void Guard(const Guarded& from, const termios& saved, const termios& raw) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  setsid();
  const Guarded kept = KeepOnly(from);

  std::array<char, ScreenModes::kMaxUndo> undo;
  size_t size = 0;
  for (;;) {
    std::array<char, ScreenModes::kMaxUndo> packet;
    const ssize_t n = recv(kept.socket, packet.data(), packet.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    if (packet[0] == kDismissed) _exit(0);
    size = static_cast<size_t>(n);
    std::memcpy(undo.data(), packet.data(), size);
    if (packet[0] != '\x1b' && packet[0] != '\x18') size = 0;  // nothing is to be undone
  }
  termios now;
  if (tcgetattr(kept.terminal, &now) == 0 && SameMode(now, raw))
    tcsetattr(kept.terminal, TCSAFLUSH, &saved);
  pollfd writable = {.fd = kept.screen, .events = POLLOUT, .revents = 0};
  if (size > 0 && kept.screen >= 0 && poll(&writable, 1, kWriteMilliseconds) == 1)
    (void)!write(kept.screen, undo.data(), size);
  _exit(0);
}

}  // namespace

Result<TerminalGuard> TerminalGuard::Start(int fd, int screen_fd, const termios& saved,
                                           const termios& raw) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return ErrErrno(ErrorCode::kInternal, "a socket for the terminal's guard");
  os::UniqueFd ours(ends[0]);
  const os::UniqueFd its(ends[1]);
  // No handler of ours may run in the child.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t pid = fork();
  if (pid == 0) Guard({.terminal = fd, .screen = screen_fd, .socket = its.get()}, saved, raw);
  const int reason = errno;
  sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0)
    return Err(Error::FromErrno(ErrorCode::kInternal, reason, "starting the terminal's guard"));
  return TerminalGuard(std::move(ours), pid);
}

void TerminalGuard::Remember(std::string_view undo) {
  if (undo.empty()) undo = " ";
  // A guard that was killed or stopped costs what it is for, and nothing else.
  (void)!send(socket_.get(), undo.data(), undo.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void TerminalGuard::Dismiss() {
  if (pid_ < 0) return;
  const pid_t pid = std::exchange(pid_, -1);
  (void)!send(socket_.get(), &kDismissed, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  socket_.reset();
  // Were it stopped, waiting for it would be for ever.
  (void)!kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace cleanroom::cli
