// The DNS servers of a host, as resolv.conf(5) lists them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/ip_address.h"

namespace cleanroom::net {

struct DnsServer {
  IpAddress address;
  uint16_t port = 53;
};

// "192.0.2.1", with the port when it is not 53.
std::string ToString(const DnsServer& server);

// The nameservers of a resolv.conf, at most 8; a scoped address or anything else unknown is left
// out. Those of a system without any: 127.0.0.1.
std::vector<DnsServer> ParseResolvConf(std::string_view text);

}  // namespace cleanroom::net
