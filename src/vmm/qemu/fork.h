// Forks of held machines: the asking side of preload/fork_server.cc.
#pragma once

#include <memory>

#include "base/result.h"
#include "os/unique_fd.h"
#include "vmm/backend.h"
#include "vmm/qemu/qemu_machine.h"

namespace cleanroom::vmm {

// Asks the VMM at the other end of the connection for a fork, which is paused then.
// runtime_launch_failed when it cannot have one, unavailable when it does not answer.
Result<std::unique_ptr<QemuMachine>> ForkHeld(const ForkSpec& spec, os::UniqueFd connection);

}  // namespace cleanroom::vmm
