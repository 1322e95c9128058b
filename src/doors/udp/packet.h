// IP packets that the UDP door writes to its guest: datagrams from the address that the guest sent
// to, and the ICMP errors of refused ones. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "net/socket_address.h"

namespace cleanroom::doors {

using PacketBytes = std::vector<uint8_t>;

inline constexpr size_t kMtu = 1500;  // of the guest's link
// The most payload of UDP over IPv4; one more does not fit its length fields.
inline constexpr size_t kMaxUdpPayload = 65'507;

// The packets of one datagram: one, or the fragments (RFC 791 3.2, RFC 8200 4.5) of a datagram
// larger than kMtu. `from` and `to` are of one family. `id` tells the fragments of datagrams apart.
std::vector<PacketBytes> UdpPackets(const net::Endpoint& from, const net::Endpoint& to,
                                    std::span<const uint8_t> payload, uint32_t id);

// ICMP port unreachable (RFC 792 type 3 code 3, RFC 4443 type 1 code 4) for a datagram that `guest`
// sent to `wanted`, as `wanted` would send it: a connected socket's next call fails at once with
// ECONNREFUSED. Quotes what `payload` has room for in 576 (IPv4) or 1280 bytes (IPv6).
PacketBytes PortUnreachable(const net::Endpoint& guest, const net::Endpoint& wanted,
                            std::span<const uint8_t> payload);

}  // namespace cleanroom::doors
