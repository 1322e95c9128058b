// The system calls that neither the warden nor a virtual machine monitor needs, denied with EPERM:
// mounting, tracing, signals to others than itself and its children, other processes' memory,
// kernel modules, bpf, keys, clocks, io_uring, namespaces but the ones os::Process gives a child
// (chroot needs a capability that only such a child begins with), and sockets of families other
// than UNIX, IPv4 and IPv6. Calls of another ABI (32-bit, x32) end the process.
#pragma once

#include "base/result.h"

namespace cleanroom::os {

// Whom signals may go to. A VMM that is to be forked stops its threads by them, and is not process
// 1 of a namespace; its forks deny themselves the others (vmm/qemu/preload).
enum class Signals { kToOneself, kToAny };

// Filters this thread's system calls from now on, and those of every thread and program it starts,
// for good: QEMU inherits it and adds its own. Sets no_new_privs. failed_precondition when the
// kernel has no seccomp.
Result<void> DenyUnneededSyscalls(Signals signals = Signals::kToOneself);

}  // namespace cleanroom::os
