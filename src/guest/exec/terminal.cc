#include "guest/exec/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cstdint>

#include "os/file.h"

namespace cleanroom::guest {
namespace {
constexpr gid_t kTtyGroup = 5;  // by convention, in every distribution
}  // namespace

Result<Terminal> OpenTerminal(const char* ptmx_path, unsigned uid, WindowSize window) {
  Terminal terminal;
  CR_TRY_ASSIGN(terminal.master, os::Open(ptmx_path, O_RDWR | O_NOCTTY | O_NONBLOCK));
  int unlock = 0;
  if (ioctl(terminal.master.get(), TIOCSPTLCK, &unlock) != 0) {
    return ErrErrno(ErrorCode::kInternal, "unlock the terminal");
  }
  terminal.slave =
      os::UniqueFd(ioctl(terminal.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.slave) return ErrErrno(ErrorCode::kInternal, "open the terminal's other side");
  // Not fatal: without it only the terminal's owner in listings is wrong.
  (void)!fchown(terminal.slave.get(), uid, kTtyGroup);
  // So that erasing on a line that is still being typed takes a whole character.
  termios mode = {};
  if (tcgetattr(terminal.slave.get(), &mode) == 0) {
    mode.c_iflag |= IUTF8;
    (void)tcsetattr(terminal.slave.get(), TCSANOW, &mode);
  }
  Resize(terminal.master.get(), window);
  return terminal;
}

void Resize(int master, WindowSize window) {
  if (window.rows < 1 || window.rows > UINT16_MAX) return;
  if (window.columns < 1 || window.columns > UINT16_MAX) return;
  winsize size = {};
  size.ws_row = static_cast<uint16_t>(window.rows);
  size.ws_col = static_cast<uint16_t>(window.columns);
  (void)ioctl(master, TIOCSWINSZ, &size);
}

}  // namespace cleanroom::guest
