// The system calls that neither the warden nor a virtual machine monitor needs, denied with EPERM:
// mounting, tracing, signals to others than itself and its children, other processes' memory,
// kernel modules, bpf, keys, clocks, io_uring, namespaces but the ones os::Process gives a child
// (chroot needs a capability that only such a child begins with), and sockets of families other
// than UNIX, IPv4 and IPv6. Calls of another ABI (32-bit, x32) end the process.
#pragma once

#include "base/result.h"

namespace cleanroom::os {

// For whoever starts a process that becomes another one's root and denies it then
// (vmm/qemu/preload).
enum class Chroot { kDenied, kAllowed };

// Filters this thread's system calls from now on, and those of every thread and program it starts,
// for good: QEMU inherits it and adds its own. Sets no_new_privs. failed_precondition when the
// kernel has no seccomp.
Result<void> DenyUnneededSyscalls(Chroot chroot = Chroot::kDenied);

}  // namespace cleanroom::os
