#include "doors/udp/packet.h"

#include <gtest/gtest.h>

#include <string>

namespace cleanroom::doors {
namespace {

net::Endpoint At(std::string_view address, uint16_t port) {
  return {*net::IpAddress::Parse(address), port};
}

PacketBytes Bytes(std::string_view text) { return {text.begin(), text.end()}; }

// The ones' complement sum over what a checksum covers is 0xffff (RFC 1071).
uint16_t SumOf(std::span<const uint8_t> bytes, uint32_t sum = 0) {
  for (size_t i = 0; i < bytes.size(); ++i) sum += i % 2 == 0 ? bytes[i] << 8U : bytes[i];
  while (sum >> 16U != 0) sum = (sum & 0xffffU) + (sum >> 16U);
  return static_cast<uint16_t>(sum);
}

TEST(PacketTest, ASmallDatagram) {
  const auto packets = UdpPackets(At("192.0.2.1", 53), At("10.0.2.2", 4000), Bytes("hey"), 7);
  ASSERT_EQ(packets.size(), 1U);
  const PacketBytes expected = {0x45, 0,    0, 31, 0,    7,    0,   0,   64, 17, 0xac,
                                0xc6, 192,  0, 2,  1,    10,   0,   2,   2,  0,  53,
                                0x0f, 0xa0, 0, 11, 0x3f, 0xa2, 'h', 'e', 'y'};
  EXPECT_EQ(std::vector<uint8_t>(packets[0].begin(), packets[0].begin() + 10),
            std::vector<uint8_t>(expected.begin(), expected.begin() + 10));
  EXPECT_EQ(SumOf(std::span(packets[0]).first(20)), 0xffff);
  // Addresses, protocol and length stand before the datagram in its sum.
  const uint32_t pseudo = SumOf(std::span(packets[0]).subspan(12, 8)) + 17U + 11U;
  EXPECT_EQ(SumOf(std::span(packets[0]).subspan(20), pseudo), 0xffff);
  EXPECT_EQ(std::string(packets[0].end() - 3, packets[0].end()), "hey");
}

TEST(PacketTest, LargeDatagramsGoInFragments) {
  const PacketBytes payload(4000, 'x');
  const auto v4 = UdpPackets(At("192.0.2.1", 53), At("10.0.2.2", 4000), payload, 9);
  ASSERT_EQ(v4.size(), 3U);
  size_t offset = 0;
  for (const auto& packet : v4) {
    EXPECT_LE(packet.size(), kMtu);
    const size_t field = static_cast<size_t>(packet[6]) << 8U | packet[7];
    EXPECT_EQ((field & 0x1fffU) * 8, offset);
    EXPECT_EQ((field & 0x2000U) != 0, &packet != &v4.back());
    EXPECT_EQ(packet[4] << 8U | packet[5], v4[0][4] << 8U | v4[0][5]);
    offset += packet.size() - 20;
  }
  EXPECT_EQ(offset, 4008U);
  const auto v6 = UdpPackets(At("2001:db8::1", 53), At("fd00::2", 4000), payload, 9);
  ASSERT_EQ(v6.size(), 3U);
  EXPECT_EQ(v6[0][6], 44);
  EXPECT_EQ(v6[0].size(), 1496U);
  EXPECT_TRUE(UdpPackets(At("192.0.2.1", 53), At("10.0.2.2", 1), PacketBytes(65'508), 1).empty());
}

TEST(PacketTest, ErrorsQuoteWhatWasRefused) {
  const auto v4 = PortUnreachable(At("10.0.2.2", 4000), At("192.0.2.1", 9), Bytes("payload"));
  ASSERT_EQ(v4.size(), 20U + 8 + 28 + 7);
  EXPECT_EQ(v4[9], 1);
  EXPECT_EQ(v4[20], 3);
  EXPECT_EQ(v4[21], 3);
  EXPECT_EQ(SumOf(std::span(v4).subspan(20)), 0xffff);
  EXPECT_EQ(std::vector<uint8_t>(v4.begin() + 28 + 12, v4.begin() + 28 + 20),
            (std::vector<uint8_t>{10, 0, 2, 2, 192, 0, 2, 1}));
  EXPECT_EQ(v4[48] << 8U | v4[49], 4000);
  EXPECT_EQ(PortUnreachable(At("10.0.2.2", 1), At("192.0.2.1", 9), PacketBytes(9000)).size(), 576U);
  EXPECT_EQ(PortUnreachable(At("fd00::2", 1), At("2001:db8::1", 9), PacketBytes(9000)).size(),
            1280U);
}

}  // namespace
}  // namespace cleanroom::doors
