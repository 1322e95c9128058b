#include "doors/udp/packet.h"

#include <algorithm>

namespace cleanroom::doors {
namespace {

using net::IpAddress;

constexpr uint8_t kIcmp = 1;
constexpr uint8_t kUdp = 17;
constexpr uint8_t kFragment = 44;
constexpr uint8_t kIcmp6 = 58;
constexpr uint8_t kHopLimit = 64;
constexpr size_t kHeader4 = 20;
constexpr size_t kHeader6 = 40;
constexpr size_t kFragmentHeader = 8;
constexpr size_t kUdpHeader = 8;
constexpr size_t kIcmpHeader = 8;
constexpr size_t kMaxError4 = 576;   // RFC 1812 4.3.2.3
constexpr size_t kMaxError6 = 1280;  // RFC 4443 2.4 (c)

bool IsV4(const net::Endpoint& endpoint) {
  return endpoint.address.family() == IpAddress::Family::kV4;
}

void Put16(PacketBytes& out, size_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

void Put32(PacketBytes& out, uint32_t value) {
  Put16(out, value >> 16);
  Put16(out, value & 0xffff);
}

void PutAddress(PacketBytes& out, const IpAddress& address) {
  const auto& bytes = address.bytes();
  out.insert(out.end(), bytes.begin(), bytes.begin() + address.bits() / 8);
}

void Append(PacketBytes& out, std::span<const uint8_t> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// RFC 1071, over `bytes` after `sum`.
uint64_t Sum(std::span<const uint8_t> bytes, uint64_t sum = 0) {
  for (size_t i = 0; i < bytes.size(); i += 2) {
    const uint64_t low = i + 1 < bytes.size() ? bytes[i + 1] : 0;
    sum += (static_cast<uint64_t>(bytes[i]) << 8) + low;
  }
  return sum;
}

uint16_t Fold(uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

void Set16(PacketBytes& out, size_t at, uint16_t value) {
  out[at] = static_cast<uint8_t>(value >> 8);
  out[at + 1] = static_cast<uint8_t>(value);
}

uint64_t PseudoHeader(const net::Endpoint& from, const net::Endpoint& to, uint8_t protocol,
                      size_t length) {
  PacketBytes bytes;
  PutAddress(bytes, from.address);
  PutAddress(bytes, to.address);
  Put32(bytes, static_cast<uint32_t>(length));
  Put32(bytes, protocol);
  return Sum(bytes);
}

PacketBytes Datagram(const net::Endpoint& from, const net::Endpoint& to,
                     std::span<const uint8_t> payload) {
  PacketBytes out;
  out.reserve(kUdpHeader + payload.size());
  const size_t length = kUdpHeader + payload.size();
  Put16(out, from.port);
  Put16(out, to.port);
  Put16(out, length);
  Put16(out, 0);
  Append(out, payload);
  const uint16_t sum = Fold(Sum(out, PseudoHeader(from, to, kUdp, length)));
  Set16(out, 6, sum == 0 ? 0xffff : sum);  // zero means none, RFC 768
  return out;
}

// `offset` in bytes; the checksum included, although the kernel would fill it in.
PacketBytes Packet4(const net::Endpoint& from, const net::Endpoint& to, uint8_t protocol,
                    uint16_t id, size_t offset, bool more, std::span<const uint8_t> body) {
  PacketBytes out;
  out.reserve(kHeader4 + body.size());
  Put16(out, 0x4500);
  Put16(out, kHeader4 + body.size());
  Put16(out, id);
  Put16(out, offset / 8 | (more ? 0x2000U : 0U));
  out.push_back(kHopLimit);
  out.push_back(protocol);
  Put16(out, 0);
  PutAddress(out, from.address);
  PutAddress(out, to.address);
  Set16(out, 10, Fold(Sum(out)));
  Append(out, body);
  return out;
}

PacketBytes Packet6(const net::Endpoint& from, const net::Endpoint& to, uint8_t next,
                    std::span<const uint8_t> body) {
  PacketBytes out;
  out.reserve(kHeader6 + body.size());
  Put32(out, 0x60000000);
  Put16(out, body.size());
  out.push_back(next);
  out.push_back(kHopLimit);
  PutAddress(out, from.address);
  PutAddress(out, to.address);
  Append(out, body);
  return out;
}

PacketBytes Fragment6(uint32_t id, size_t offset, bool more, std::span<const uint8_t> body) {
  PacketBytes out;
  out.push_back(kUdp);
  out.push_back(0);
  Put16(out, offset | (more ? 1U : 0U));
  Put32(out, id);
  Append(out, body);
  return out;
}

}  // namespace

std::vector<PacketBytes> UdpPackets(const net::Endpoint& from, const net::Endpoint& to,
                                    std::span<const uint8_t> payload, uint32_t id) {
  if (payload.size() > kMaxUdpPayload) return {};
  const PacketBytes datagram = Datagram(from, to, payload);
  const bool v4 = IsV4(from);
  const size_t room = kMtu - (v4 ? kHeader4 : kHeader6);
  std::vector<PacketBytes> out;
  if (datagram.size() <= room) {
    out.push_back(v4 ? Packet4(from, to, kUdp, static_cast<uint16_t>(id), 0, false, datagram)
                     : Packet6(from, to, kUdp, datagram));
    return out;
  }
  // Fragments but the last carry a multiple of 8 bytes.
  const size_t step = (v4 ? room : room - kFragmentHeader) / 8 * 8;
  for (size_t at = 0; at < datagram.size(); at += step) {
    const bool more = at + step < datagram.size();
    const auto part = std::span(datagram).subspan(at, more ? step : datagram.size() - at);
    if (v4) {
      // An id of zero would be replaced, with a different one for each fragment.
      const auto id4 = static_cast<uint16_t>(id % 0xffff + 1);
      out.push_back(Packet4(from, to, kUdp, id4, at, more, part));
    } else {
      out.push_back(Packet6(from, to, kFragment, Fragment6(id, at, more, part)));
    }
  }
  return out;
}

PacketBytes PortUnreachable(const net::Endpoint& guest, const net::Endpoint& wanted,
                            std::span<const uint8_t> payload) {
  const bool v4 = IsV4(guest);
  const size_t header = v4 ? kHeader4 : kHeader6;
  const PacketBytes datagram = Datagram(guest, wanted, payload);
  const size_t room = (v4 ? kMaxError4 : kMaxError6) - 2 * header - kIcmpHeader;
  PacketBytes offending = v4 ? Packet4(guest, wanted, kUdp, 0, 0, false, datagram)
                             : Packet6(guest, wanted, kUdp, datagram);
  offending.resize(std::min(offending.size(), header + room));

  PacketBytes error;
  error.push_back(v4 ? 3 : 1);
  error.push_back(v4 ? 3 : 4);
  Put16(error, 0);
  Put32(error, 0);
  Append(error, offending);
  const uint64_t pseudo = v4 ? 0 : PseudoHeader(wanted, guest, kIcmp6, error.size());
  Set16(error, 2, Fold(Sum(error, pseudo)));
  return v4 ? Packet4(wanted, guest, kIcmp, 0, 0, false, error)
            : Packet6(wanted, guest, kIcmp6, error);
}

}  // namespace cleanroom::doors
