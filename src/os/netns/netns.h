// NetNs: this process in a user and network namespace of its own, holding one TAP and no route out.
//
// The rules stand before the TAP is up, so no packet ever meets less than the floor:
//  - what does not come from the guest's own address is dropped (its identity is the namespace);
//  - neighbour discovery and ARP for the gateway's address are answered by the kernel;
//  - TCP is answered with a reset; multicast and broadcast are dropped;
//  - everything else is rejected as administratively prohibited.
// They hang in prerouting, where `reject` works since Linux 5.9: nothing depends on routes or
// forwarding.
#pragma once

#include <string>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::os {

// The inner network, the same in every sandbox: each has its own namespace.
struct NetNsConfig {
  std::string tap_name = "tap0";
  std::string gateway_mac = "02:00:00:00:00:01";
  std::string gateway_ipv4 = "10.0.2.1";
  std::string guest_ipv4 = "10.0.2.2";
  int ipv4_prefix = 24;
  std::string gateway_ipv6 = "fd00:c1ea:0:2::1";
  std::string guest_ipv6 = "fd00:c1ea:0:2::2";
  int ipv6_prefix = 64;
  std::string guest_mac = "02:00:00:00:00:02";
};

class NetNs {
 public:
  // Moves this process, which must have one thread, into the new namespaces (there is no way back)
  // and sets them up. The user ids stay what they were. failed_precondition, with the remedy, when
  // the kernel or the permissions do not allow it; the process is then fit only to report that and
  // exit.
  static Result<NetNs> Create(const NetNsConfig& config = {});

  // Whether the host has IPv6; without it the guest has no IPv6 gateway either.
  bool has_ipv6() const { return has_ipv6_; }
  // The TAP, for the VMM: frames with struct virtio_net_hdr (IFF_VNET_HDR) of 10 bytes in front.
  // The namespace's interface lives as long as a copy of this descriptor.
  int tap_fd() const { return tap_.get(); }
  UniqueFd TakeTap() { return std::move(tap_); }

 private:
  NetNs(UniqueFd tap, bool has_ipv6) : tap_(std::move(tap)), has_ipv6_(has_ipv6) {}
  UniqueFd tap_;
  bool has_ipv6_;
};

// The nftables ruleset for `config`, as text (also for docs and tests).
std::string FloorRules(const NetNsConfig& config);

// Whether this process could use /dev/net/tun; failed_precondition, with the remedy, otherwise.
Result<void> CheckTun();

// Gives up every capability for good (bounding, permitted, inheritable and ambient sets) and sets
// no_new_privs, for this thread and what it starts: not even a set-uid program gives anything back.
Result<void> DropPrivileges();

}  // namespace cleanroom::os
