// The sockets through which a sandbox's packets reach its doors. They live in the sandbox's network
// namespace and are used by a process whose own namespace is the host's. All are non-blocking and
// close-on-exec; the IPv6 ones are empty where the host has no IPv6.
#pragma once

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::os {

// Connections a door has not accepted yet; what comes on top waits for the guest's next attempt.
inline constexpr int kDoorBacklog = 1024;

enum class Families { kIpv4, kIpv4AndIpv6 };

struct DoorSockets {
  // Listening, IP_TRANSPARENT. What they accept was redirected: getsockname is the address the
  // guest wanted, getpeername the guest's. This includes TCP to port 53.
  UniqueFd tcp4;
  UniqueFd tcp6;
  // UDP to port 53 of any address, bound to port 53: recvmsg gives the wanted address
  // (IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR), and an answer goes out from it when sendmsg names
  // it as the source (IP_PKTINFO, IPV6_PKTINFO).
  UniqueFd dns4;
  UniqueFd dns6;
  // UDP to every other port, received the same way; answers go out through raw4 and raw6.
  UniqueFd udp4;
  UniqueFd udp6;
  // Raw (IPPROTO_RAW, header included): datagrams and ICMP errors to the guest from any address.
  UniqueFd raw4;
  UniqueFd raw6;
};

// Makes them in the network namespace this thread is in now, where it has every capability.
Result<DoorSockets> MakeDoorSockets(Families families);

}  // namespace cleanroom::os
