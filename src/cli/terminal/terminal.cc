#include "cli/terminal/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace cleanroom::cli {
namespace {

// What the handler of fatal signals and the exit hook restore. Written before `g_fd` is set, so
// whoever sees the descriptor sees the mode. A process has one controlling terminal, and this is
// its rescue.
termios g_saved;
volatile sig_atomic_t g_fd = -1;

// tcsetattr from the background would stop us, so SIGTTOU is held off. Only async-signal-safe
// calls.
void SetMode(int fd, int when, const termios& mode) {
  sigset_t block;
  sigset_t before;
  sigemptyset(&block);
  sigaddset(&block, SIGTTOU);
  sigprocmask(SIG_BLOCK, &block, &before);
  tcsetattr(fd, when, &mode);
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

void RescueTerminal() {
  const int fd = g_fd;
  if (fd < 0) return;
  g_fd = -1;
  SetMode(fd, TCSADRAIN, g_saved);
}

void OnFatalSignal(int signal) {
  RescueTerminal();
  // The handler was installed with SA_RESETHAND: this ends the process as the signal would have.
  raise(signal);
}

void InstallRescue() {
  static const bool installed = [] {
    std::atexit(RescueTerminal);
    struct sigaction action = {};
    action.sa_handler = OnFatalSignal;
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
    for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL})
      sigaction(signal, &action, nullptr);
    return true;
  }();
  (void)installed;
}

termios Raw(const termios& from) {
  termios raw = from;
  cfmakeraw(&raw);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  return raw;
}

}  // namespace

std::optional<TerminalSize> GetTerminalSize(int fd) {
  winsize size = {};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
    return std::nullopt;
  return TerminalSize{size.ws_row, size.ws_col};
}

bool IsForeground(int fd) {
  const pid_t foreground = tcgetpgrp(fd);
  return foreground < 0 || foreground == getpgrp();
}

Result<RawMode> RawMode::Enter(int fd) {
  termios saved = {};
  if (tcgetattr(fd, &saved) != 0)
    return ErrErrno(ErrorCode::kFailedPrecondition, "reading the terminal's mode");
  InstallRescue();
  g_saved = saved;
  g_fd = fd;
  // From the background this stops us until we are in the foreground, which is right for a raw
  // terminal.
  const termios raw = Raw(saved);
  if (tcsetattr(fd, TCSADRAIN, &raw) != 0) {
    g_fd = -1;
    return ErrErrno(ErrorCode::kFailedPrecondition, "switching the terminal to raw mode");
  }
  return RawMode(fd, saved);
}

void RawMode::Reenter() {
  if (fd_ < 0) return;
  const termios raw = Raw(saved_);
  tcsetattr(fd_, TCSADRAIN, &raw);
}

termios RawMode::raw() const { return Raw(saved_); }

void RawMode::Restore(Typed typed) {
  if (fd_ < 0) return;
  g_fd = -1;
  SetMode(std::exchange(fd_, -1), typed == Typed::kKeep ? TCSADRAIN : TCSAFLUSH, saved_);
}

}  // namespace cleanroom::cli
