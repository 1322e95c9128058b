// What kind of place an address is, by the IANA special-purpose registries (RFC 6890 and its
// updates). An address that carries an IPv4 address in it (NAT64, 6to4) is what that one is.
#pragma once

#include <cstdint>

#include "net/ip_address.h"

namespace cleanroom::net {

enum class AddressClass : uint8_t {
  kPublic,
  // Private, link-local (with cloud metadata), shared, reserved or for documentation: reached only
  // when a cidr rule names it.
  kPrivate,
  // Loopback: the host itself. Reached only when a cidr rule names it.
  kLoopback,
  // Unspecified, "this network", multicast, broadcast: no destination of a connection, ever.
  kNever,
};

AddressClass Classify(const net::IpAddress& address);

}  // namespace cleanroom::net
