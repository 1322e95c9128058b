// The nftables rules of a sandbox's namespace: which frames of the guest enter at all, and which
// packets go to the doors. They know nothing of the policy.
//
// Frames are checked as they leave the TAP, before the kernel's network stack looks at them:
//  - the sender is the guest: its hardware address and its own IPv4 or IPv6 address;
//  - untagged IPv4, IPv6, or a question (ARP, neighbour solicitation) about the gateway's address;
//  - no IPv4 options, no IPv6 extension headers, no fragments: a guest's datagram is at most its
//    MTU, and the host's kernel never reassembles what a guest sent;
//  - no destination that is no single host's: multicast, broadcast, loopback, unspecified,
//    IPv4-mapped (RFC 4291 2.5.5).
// Anything else is dropped and counted. What passes is TCP or UDP for a door, or refused at once as
// administratively prohibited; TCP for a door that nobody holds open is reset. `reject` in
// prerouting needs Linux 5.9.
#pragma once

#include "base/result.h"
#include "os/netns/config.h"
#include "os/netns/door_sockets.h"

namespace cleanroom::os {

// Loads the rules into the network namespace this thread is in now; the interface exists. Without
// IPv6 every frame of it is dropped. failed_precondition when the kernel lacks what they need.
// rules_test.cc has them as nft lists them.
Result<void> LoadRules(const NetNsConfig& config, Families families);

}  // namespace cleanroom::os
