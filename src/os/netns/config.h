// What is the same in the network of every sandbox: its addresses, and where its doors are.
#pragma once

#include <cstdint>
#include <string>

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

// Where the doors' sockets are bound, on loopback inside the namespace (which no frame can name).
inline constexpr uint16_t kTcpDoorPort = 1001;
inline constexpr uint16_t kUdpDoorPort = 1002;
inline constexpr uint16_t kDnsPort = 53;
// What packets for a door are marked with.
inline constexpr uint32_t kDoorMark = 1;

}  // namespace cleanroom::os
