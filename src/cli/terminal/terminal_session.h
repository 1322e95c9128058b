// TerminalSession: the user's terminal while it belongs to a program in a sandbox: raw, and given
// back whole however the session ends.
#pragma once

#include <optional>
#include <string_view>
#include <utility>

#include "cli/terminal/screen_modes.h"
#include "cli/terminal/terminal.h"
#include "cli/terminal/terminal_guard.h"

namespace cleanroom::cli {

// How the program ended. One that ended by itself leaves the screen as it wanted it, as it could
// on the terminal itself; one that was lost or killed could not tidy up.
enum class SessionEnd { kOrderly, kBroken };

// One at a time. Destroying it ends it as broken.
class TerminalSession {
 public:
  // `screen_fd`: where the program's output goes. When that is no terminal, nothing is told to it.
  static Result<TerminalSession> Begin(int fd, int screen_fd);
  TerminalSession(TerminalSession&& other) noexcept
      : raw_(std::exchange(other.raw_, std::nullopt)),
        guard_(std::exchange(other.guard_, std::nullopt)),
        screen_fd_(other.screen_fd_),
        modes_(other.modes_) {}
  TerminalSession& operator=(TerminalSession&&) = delete;
  ~TerminalSession() { End(SessionEnd::kBroken); }

  // Sees output that goes to the screen, before it does.
  void Watch(std::string_view output);
  // Raw again, after a shell had the terminal.
  void Reenter();
  // The former mode. After a broken end: what was typed for the program and not yet read is thrown
  // away, lest a shell run it; what the program had switched on is switched off; and the cursor
  // stands at the beginning of a line.
  void End(SessionEnd how);

 private:
  TerminalSession(RawMode raw, std::optional<TerminalGuard> guard, int screen_fd)
      : raw_(std::move(raw)), guard_(std::move(guard)), screen_fd_(screen_fd) {}

  std::optional<RawMode> raw_;
  std::optional<TerminalGuard> guard_;
  int screen_fd_;  // -1: none
  ScreenModes modes_;
};

}  // namespace cleanroom::cli
