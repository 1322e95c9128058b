#include "cli/terminal/terminal_session.h"

#include <poll.h>
#include <unistd.h>

#include <string>

namespace cleanroom::cli {
namespace {

// For a terminal whose reader does not read.
constexpr int kWriteMilliseconds = 1000;

}  // namespace

Result<TerminalSession> TerminalSession::Begin(int fd, int screen_fd) {
  CR_TRY_ASSIGN(RawMode raw, RawMode::Enter(fd));
  const int screen = isatty(screen_fd) == 1 ? screen_fd : -1;
  // Without a guard the session is as good, but for a kill -9 of this program.
  auto started = TerminalGuard::Start(fd, screen, raw.saved(), raw.raw());
  std::optional<TerminalGuard> guard;
  if (started) guard.emplace(std::move(*started));
  return TerminalSession(std::move(raw), std::move(guard), screen);
}

void TerminalSession::Watch(std::string_view output) {
  if (screen_fd_ < 0) return;
  if (modes_.Watch(output) && guard_) guard_->Remember(modes_.Undo());
}

void TerminalSession::Reenter() {
  if (raw_) raw_->Reenter();
}

void TerminalSession::End(SessionEnd how) {
  if (!raw_) return;
  if (guard_) guard_->Dismiss();
  if (how == SessionEnd::kOrderly) {
    raw_->Restore(RawMode::Typed::kKeep);
  } else {
    pollfd writable = {.fd = screen_fd_, .events = POLLOUT, .revents = 0};
    std::string undo = modes_.Undo();
    if (!modes_.at_line_start()) undo += "\r\n";
    if (screen_fd_ >= 0 && !undo.empty() && poll(&writable, 1, kWriteMilliseconds) == 1)
      (void)!write(screen_fd_, undo.data(), undo.size());
    raw_->Restore(RawMode::Typed::kDiscard);
  }
  raw_.reset();
}

}  // namespace cleanroom::cli
