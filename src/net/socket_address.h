// Endpoint: an address and a port, to and from the kernel's form. An IPv4-mapped IPv6 address is
// the IPv4 address it maps.
#pragma once

#include <sys/socket.h>

#include <compare>
#include <cstdint>
#include <optional>
#include <string>

#include "net/ip_address.h"

namespace cleanroom::net {

struct Endpoint {
  IpAddress address;
  uint16_t port = 0;

  std::string ToString() const;  // "192.0.2.1:443", "[2001:db8::1]:443"
  auto operator<=>(const Endpoint&) const = default;
};

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

SocketAddress ToSocketAddress(const Endpoint& endpoint);
// Nothing for any other family than IPv4 and IPv6.
std::optional<Endpoint> FromSocketAddress(const sockaddr_storage& storage);
// This end of a connected or accepted socket.
std::optional<Endpoint> LocalEndpoint(int fd);

}  // namespace cleanroom::net
