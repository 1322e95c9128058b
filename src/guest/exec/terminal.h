// A pseudo-terminal for one command.
#pragma once

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::guest {

struct WindowSize {
  int rows = 0;
  int columns = 0;
};

struct Terminal {
  os::UniqueFd master;  // non-blocking
  os::UniqueFd slave;   // close once the command has it
};

// Opens a new terminal, for UTF-8, of the devpts instance whose ptmx is `ptmx_path`, owned by
// `uid`. The slave is opened through the master, not by a name that a command could have replaced.
Result<Terminal> OpenTerminal(const char* ptmx_path, unsigned uid, WindowSize window);

// Sizes outside 1..65535 leave the terminal as it is. The kernel tells the foreground process group
// with SIGWINCH.
void Resize(int master, WindowSize window);

}  // namespace cleanroom::guest
