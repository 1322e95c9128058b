// StartFrom: what a machine comes from. One type for all who pass it on: the control plane, which
// chooses, the link to the warden (`Machine` in warden.proto), the warden, and the backend, which
// is the only one to take the choice apart.
//
// A snapshot of a sandbox would be a Copy of files from another store as long as its RAM and its
// devices' state are a file each, and a struct of its own beside these otherwise: each std::visit
// then fails to compile until it says what becomes of it.
#pragma once

#include <string>
#include <variant>

#include "os/unique_fd.h"

namespace cleanroom::vmm {

// It boots its kernel.
struct Boot {
  // Where its RAM is to be once it has been saved (Machine::Save): a file that nobody else uses.
  // When it is filled is the backend's business: from the start (QEMU), or by saving. Empty: it
  // cannot be saved.
  std::string memory_file = {};
};

// It runs on from where another was saved, with a private copy of its RAM, made page by page as it
// is written. Both files lie in one folder and are only read.
struct Copy {
  std::string memory_file;
  std::string state_file;  // of its devices
};

// It runs on from where a running machine is held (Machine::Pause), as a fork of its VMM: memory is
// shared with the held one until either writes to it. Not every backend can (Backend::CanHold).
struct Fork {
  std::string socket = {};  // where the held machine's VMM is asked for forks
  // To that socket, for whoever may not, or cannot, reach it by its path; used in its place.
  os::UniqueFd connection = {};
};

using StartFrom = std::variant<Boot, Copy, Fork>;

}  // namespace cleanroom::vmm
