// TerminalGuard: a small process that takes the terminal back to its former mode when ours is
// killed (SIGKILL, the out-of-memory killer), which no handler of ours could see.
//
// It is a fork that holds the terminal, one socket and nothing else, in a session of its own, so
// that what is sent to our process group or terminal does not end it. It ends with us, however we
// end.
#pragma once

#include <sys/types.h>
#include <termios.h>

#include <string_view>
#include <utility>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::cli {

class TerminalGuard {
 public:
  // `raw`: restored to `saved` only where the terminal is still in this mode, because a shell that
  // is back at its prompt has set its own. `screen_fd`: the same terminal for output, or -1.
  static Result<TerminalGuard> Start(int fd, int screen_fd, const termios& saved,
                                     const termios& raw);
  TerminalGuard(TerminalGuard&& other) noexcept
      : socket_(std::move(other.socket_)), pid_(std::exchange(other.pid_, -1)) {}
  TerminalGuard& operator=(TerminalGuard&&) = delete;
  ~TerminalGuard() { Dismiss(); }

  // What it is to write to the terminal, in place of what it was told before; at most
  // ScreenModes::kMaxUndo bytes. Never waits.
  void Remember(std::string_view undo);

  // Ends it without a trace. Nothing happens in a process that did not start it.
  void Dismiss();

 private:
  TerminalGuard(os::UniqueFd socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}
  os::UniqueFd socket_;
  pid_t pid_;
};

}  // namespace cleanroom::cli
