// Forks of held machines: the asking side of preload/fork_server.cc.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "os/unique_fd.h"
#include "vmm/qemu/qemu_machine.h"

namespace cleanroom::vmm {

// What a fork of a held machine does not share with it.
struct ForkSpec {
  std::string sandbox_id;
  std::string disk;  // a copy of the held machine's
  int tap_fd = -1;
};

// Asks the VMM at the other end of the connection for a fork, which is paused then.
// runtime_launch_failed when it cannot have one, unavailable when it does not answer.
Result<std::unique_ptr<QemuMachine>> ForkHeld(const ForkSpec& spec, os::UniqueFd connection);

}  // namespace cleanroom::vmm
