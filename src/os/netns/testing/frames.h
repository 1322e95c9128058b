// Frames as a guest would put them on its TAP, for tests: written byte by byte, so that they can be
// anything.
#pragma once

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_ether.h>
#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

namespace cleanroom::os {

using Bytes = std::vector<uint8_t>;

inline constexpr size_t kVnetHeader = 10;
inline constexpr uint8_t kIcmp = 1;
inline constexpr uint8_t kTcp = 6;
inline constexpr uint8_t kUdp = 17;
inline constexpr uint8_t kIcmpv6 = 58;
inline constexpr uint8_t kSctp = 132;

inline const Bytes kGuestMac = {2, 0, 0, 0, 0, 2};
inline const Bytes kGatewayMac = {2, 0, 0, 0, 0, 1};

inline void Append(Bytes* out, const Bytes& more) {
  out->insert(out->end(), more.begin(), more.end());
}
inline void Put16(Bytes* out, size_t value) {
  out->push_back(static_cast<uint8_t>(value >> 8));
  out->push_back(static_cast<uint8_t>(value));
}
inline void Put32(Bytes* out, uint32_t value) {
  Put16(out, value >> 16);
  Put16(out, value & 0xffff);
}

inline uint16_t Checksum(const Bytes& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<uint32_t>(bytes[i] << 8) + (i + 1 < bytes.size() ? bytes[i + 1] : 0U);
  }
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

inline Bytes Address(const std::string& text) {
  Bytes out(text.find(':') == std::string::npos ? 4 : 16);
  inet_pton(out.size() == 4 ? AF_INET : AF_INET6, text.c_str(), out.data());
  return out;
}

struct TestFrame {
  std::string source = "10.0.2.2";
  std::string destination = "198.51.100.7";
  uint8_t protocol = kUdp;
  uint16_t source_port = 40000;  // an echo's identifier
  uint16_t port = 443;
  uint32_t sequence = 7;  // TCP
  uint32_t acknowledged = 0;
  uint8_t tcp_flags = 0x02;  // SYN
  Bytes payload = {};
  // What makes a frame odd.
  Bytes source_mac = kGuestMac;
  Bytes destination_mac = kGatewayMac;
  Bytes tags = {};     // in front of the EtherType
  Bytes options = {};  // IPv4: multiples of 4 bytes
  uint16_t fragment = 0x4000;
  uint8_t extension = 0;  // IPv6: the type of a header of 8 bytes in front of the transport
  bool has_extension = false;
  uint16_t ether_type = 0;  // 0: the address family's
};

inline Bytes TransportOf(const TestFrame& f) {
  const Bytes from = Address(f.source);
  const Bytes to = Address(f.destination);
  Bytes out;
  size_t checksum_at = 0;
  if (f.protocol == kTcp) {
    Put16(&out, f.source_port);
    Put16(&out, f.port);
    Put32(&out, f.sequence);
    Put32(&out, f.acknowledged);
    Append(&out, {0x50, f.tcp_flags, 0xff, 0xff, 0, 0, 0, 0});
    checksum_at = 16;
  } else if (f.protocol == kUdp) {
    Put16(&out, f.source_port);
    Put16(&out, f.port);
    Put16(&out, 8 + f.payload.size());
    Put16(&out, 0);
    checksum_at = 6;
  } else if (f.protocol == kIcmp || f.protocol == kIcmpv6) {  // echo request
    Append(&out, {static_cast<uint8_t>(f.protocol == kIcmp ? 8 : 128), 0, 0, 0});
    Put16(&out, f.source_port);
    Put16(&out, 1);
    checksum_at = 2;
  } else {
    Put16(&out, f.source_port);
    Put16(&out, f.port);
    Append(&out, Bytes(16));
    Append(&out, f.payload);
    return out;
  }
  Append(&out, f.payload);
  Bytes summed;
  if (f.protocol != kIcmp) {
    summed = from;
    Append(&summed, to);
    Put16(&summed, f.protocol);
    Put16(&summed, out.size());
  }
  Append(&summed, out);
  const uint16_t sum = Checksum(summed);
  out[checksum_at] = static_cast<uint8_t>(sum >> 8);
  out[checksum_at + 1] = static_cast<uint8_t>(sum);
  return out;
}

inline Bytes PacketOf(const TestFrame& f) {
  const Bytes from = Address(f.source);
  const Bytes to = Address(f.destination);
  const Bytes transport = TransportOf(f);
  Bytes ip;
  if (from.size() == 4) {
    const size_t header = 20 + f.options.size();
    ip = {static_cast<uint8_t>(0x40 | (header / 4)), 0};
    Put16(&ip, header + transport.size());
    Put16(&ip, 0x1234);
    Put16(&ip, f.fragment);
    Append(&ip, {64, f.protocol, 0, 0});
    Append(&ip, from);
    Append(&ip, to);
    Append(&ip, f.options);
    const uint16_t sum = Checksum(ip);
    ip[10] = static_cast<uint8_t>(sum >> 8);
    ip[11] = static_cast<uint8_t>(sum);
  } else {
    ip = {0x60, 0, 0, 0};
    Put16(&ip, transport.size() + (f.has_extension ? 8 : 0));
    Append(&ip, {f.has_extension ? f.extension : f.protocol, 64});
    Append(&ip, from);
    Append(&ip, to);
    if (f.has_extension) Append(&ip, {f.protocol, 0, 1, 4, 0, 0, 0, 0});  // PadN; or offset 0, last
  }
  Append(&ip, transport);
  return ip;
}

inline Bytes FrameOf(const TestFrame& f) {
  Bytes frame(kVnetHeader);
  Append(&frame, f.destination_mac);
  Append(&frame, f.source_mac);
  Append(&frame, f.tags);
  const uint16_t type = f.source.find(':') == std::string::npos ? ETH_P_IP : ETH_P_IPV6;
  Put16(&frame, f.ether_type != 0 ? f.ether_type : type);
  Append(&frame, PacketOf(f));
  return frame;
}

// An ARP packet of the operation (1: who has `target`; 2: `sender_ip` is at `sender_mac`).
inline Bytes ArpFrame(int operation, const Bytes& sender_mac, const std::string& sender_ip,
                      const std::string& target) {
  Bytes frame(kVnetHeader);
  Append(&frame, Bytes(6, 0xff));
  Append(&frame, sender_mac);
  Put16(&frame, ETH_P_ARP);
  Append(&frame, {0, 1, 8, 0, 6, 4});
  Put16(&frame, static_cast<size_t>(operation));
  Append(&frame, sender_mac);
  Append(&frame, Address(sender_ip));
  Append(&frame, Bytes(6));
  Append(&frame, Address(target));
  return frame;
}

// What came out of the TAP.
struct Seen {
  std::string what = "nothing";  // "syn-ack", "rst", "udp", "prohibited", "arp", "other"
  std::string from;              // an ARP answer's address
  uint16_t source_port = 0;
  uint16_t port = 0;  // of a refusal: the source port of what it refuses
  uint32_t sequence = 0;
  Bytes destination_mac;
  Bytes payload;  // of UDP

  std::string ToString() const { return fmt::format("{} {} from {}", what, port, from); }
};

inline uint16_t Get16(const Bytes& bytes, size_t at) {
  return static_cast<uint16_t>(bytes.at(at) << 8 | bytes.at(at + 1));
}

inline Seen Decode(const Bytes& frame) {
  Seen seen;
  seen.what = "other";
  seen.destination_mac.assign(frame.begin() + kVnetHeader, frame.begin() + kVnetHeader + 6);
  const uint16_t type = Get16(frame, kVnetHeader + 12);
  const Bytes ip(frame.begin() + kVnetHeader + 14, frame.end());
  char text[INET6_ADDRSTRLEN];
  if (type == ETH_P_ARP) {
    seen.what = "arp";
    seen.from = inet_ntop(AF_INET, ip.data() + 14, text, sizeof text);
    return seen;
  }
  const bool v4 = type == ETH_P_IP;
  const size_t header = v4 ? 20 : 40;
  const uint8_t protocol = v4 ? ip.at(9) : ip.at(6);
  seen.from = inet_ntop(v4 ? AF_INET : AF_INET6, ip.data() + (v4 ? 12 : 8), text, sizeof text);
  seen.source_port = Get16(ip, header);
  seen.port = Get16(ip, header + 2);
  if (protocol == kTcp) {
    const uint8_t flags = ip.at(header + 13);
    seen.what = (flags & 0x04) != 0 ? "rst" : (flags & 0x12) == 0x12 ? "syn-ack" : "tcp";
    seen.sequence = static_cast<uint32_t>(Get16(ip, header + 4)) << 16 | Get16(ip, header + 6);
  } else if (protocol == kUdp) {
    seen.what = "udp";
    seen.payload.assign(ip.begin() + static_cast<ptrdiff_t>(header) + 8, ip.end());
  } else if ((protocol == kIcmp && ip.at(20) == 3 && ip.at(21) == 13) ||
             (protocol == kIcmpv6 && ip.at(40) == 1 && ip.at(41) == 1)) {
    seen.what = "prohibited";
    const size_t inner = header + 8 + header;
    const bool echo = ip.at(header + 8 + (v4 ? 9 : 6)) == (v4 ? kIcmp : kIcmpv6);
    seen.port = Get16(ip, inner + (echo ? 4 : 0));
  }
  return seen;
}

// The next answer; what the kernel sends by itself (MLD reports, the end of a connection) is none.
inline Seen NextSeen(int tap, int milliseconds = 3000) {
  for (;;) {
    pollfd watched{tap, POLLIN, 0};
    if (poll(&watched, 1, milliseconds) != 1) return {};
    Bytes frame(4096);
    const ssize_t n = read(tap, frame.data(), frame.size());
    if (n < static_cast<ssize_t>(kVnetHeader + 14 + 28)) continue;
    frame.resize(static_cast<size_t>(n));
    Seen seen = Decode(frame);
    if (seen.what != "other" && seen.what != "tcp") return seen;
  }
}

}  // namespace cleanroom::os
