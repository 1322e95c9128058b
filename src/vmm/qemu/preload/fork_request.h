// What a held QEMU is asked for (fork_server.cc), and what it answers: one message each way on a
// connection, which the fork then keeps: it ends when the connection does.
#pragma once

#include <sched.h>

#include <cstdint>

namespace cleanroom::vmm {

inline constexpr uint32_t kForkVersion = 1;
// With the request come descriptors, in this order; the last one only where there is a network.
enum ForkFd { kForkAgent, kForkMonitor, kForkConsole, kForkDisk, kForkTap, kForkFds };
inline constexpr uint32_t kForkIdBytes = 26;
// What a fork may be asked to have of its own.
inline constexpr uint32_t kForkNamespaces =
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

struct ForkRequest {
  uint32_t version = kForkVersion;
  uint32_t namespaces = 0;             // CLONE_NEW*: of the fork's own
  char sandbox_id[kForkIdBytes] = {};  // takes the place of the held machine's in the process list
  char unused[2] = {};
};

// The sender is the fork, which the kernel vouches for (SCM_CREDENTIALS), or, of a failure, maybe
// the held machine.
struct ForkAnswer {
  int32_t error = 0;  // an errno; 0: the fork runs, and its machine is paused
  char step[60] = {};
};

}  // namespace cleanroom::vmm
