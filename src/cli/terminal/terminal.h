// The user's terminal: raw mode that always ends, its size, and whether we are in its foreground.
#pragma once

#include <termios.h>

#include <optional>
#include <utility>

#include "base/result.h"

namespace cleanroom::cli {

struct TerminalSize {
  int rows = 24;
  int columns = 80;
  bool operator==(const TerminalSize&) const = default;
};

// Nothing when `fd` is no terminal, or one that does not know its size.
std::optional<TerminalSize> GetTerminalSize(int fd);

// Whether our process group is the foreground one of the terminal `fd`. True when `fd` is a
// terminal that is not our controlling one: then there is no job control on it.
bool IsForeground(int fd);

// Keys go through byte for byte, as the guest's terminal expects them. The former mode comes back
// in Restore, the destructor, at exit(3) and when a fatal signal (SEGV, ABRT, BUS, FPE, ILL) ends
// the process; INT, TERM, HUP and QUIT are the owner's to turn into an orderly end. One at a time.
class RawMode {
 public:
  // failed_precondition when `fd` is no terminal.
  static Result<RawMode> Enter(int fd);
  RawMode(RawMode&& other) noexcept : fd_(std::exchange(other.fd_, -1)), saved_(other.saved_) {}
  RawMode& operator=(RawMode&&) = delete;
  ~RawMode() { Restore(Typed::kKeep); }

  // Raw again, after someone (a shell that took the foreground) set another mode.
  void Reenter();
  // What was typed and not yet read is for whoever reads next, or for nobody.
  enum class Typed { kKeep, kDiscard };
  void Restore(Typed typed);

  const termios& saved() const { return saved_; }
  termios raw() const;

 private:
  RawMode(int fd, const termios& saved) : fd_(fd), saved_(saved) {}
  int fd_;
  termios saved_;
};

}  // namespace cleanroom::cli
