// NetNs: the network of one sandbox: a namespace of its own with one TAP, no route to anywhere, and
// the sockets of its doors. The process that serves the doors stays in the host's namespace, where
// it dials what they allow; the namespace lives as long as one of these descriptors does.
//
// What reaches a door is decided here, by rules that stand before the TAP is up and that do not
// depend on the sandbox's policy (rules.h). Whatever the doors do, nothing is forwarded: the
// namespace has no second interface.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "base/result.h"
#include "os/netns/config.h"
#include "os/netns/door_sockets.h"
#include "os/unique_fd.h"

namespace cleanroom::os {

struct NetNs {
  // The TAP, for the VMM: frames with struct virtio_net_hdr (IFF_VNET_HDR) of 10 bytes in front.
  UniqueFd tap;
  DoorSockets doors;
  // Whether the host has IPv6; without it the guest has no IPv6 gateway either.
  bool has_ipv6 = false;

  // Begin and Finish in one.
  static Result<NetNs> Create(const NetNsConfig& config = {});
};

// A NetNs in the making, by a child process: a few milliseconds in which this one can do other
// things. The namespace belongs to a user namespace of the child's own, in which nobody is left
// when it has ended: nobody has a capability over it.
class NetNsSetUp {
 public:
  // Starts the child; this process must have one thread, and stays where it is. Works as root and
  // as an ordinary user. failed_precondition, with the remedy, here or from Finish, when the kernel
  // or the permissions do not allow it.
  static Result<NetNsSetUp> Begin(const NetNsConfig& config = {});

  // Blocks until the network is there, or cannot be: errors are those of Begin. Once.
  Result<NetNs> Finish();

  NetNsSetUp(NetNsSetUp&& other) noexcept;
  // Ends the child.
  ~NetNsSetUp();

 private:
  NetNsSetUp(pid_t child, UniqueFd socket) : child_(child), socket_(std::move(socket)) {}
  int Reap();  // its status

  pid_t child_ = -1;  // -1: reaped
  UniqueFd socket_;
};

// Gives up every capability for good (bounding, permitted, inheritable and ambient sets) and sets
// no_new_privs, for this thread and what it starts: not even a set-uid program gives anything back.
Result<void> DropPrivileges();

}  // namespace cleanroom::os
