#include "doors/rules/name_memory.h"

#include <gtest/gtest.h>

#include <array>

namespace cleanroom::doors {
namespace {

using std::chrono::seconds;

net::IpAddress Ip(uint32_t number) {
  return net::IpAddress::V4({static_cast<uint8_t>(number >> 24U),
                             static_cast<uint8_t>(number >> 16U),
                             static_cast<uint8_t>(number >> 8U), static_cast<uint8_t>(number)});
}

TEST(NameMemoryTest, ShortAnswersStayFreshForTheFloor) {
  NameMemory memory;
  const auto now = NameMemory::Clock::now();
  memory.Remember(Ip(1), "a", seconds(1), now);
  auto fresh = [&](seconds later) { return memory.Lookup(Ip(1), now + later).at(0).fresh; };
  EXPECT_TRUE(fresh(NameMemory::kMinFresh - seconds(1)));
  EXPECT_FALSE(fresh(NameMemory::kMinFresh));
  memory.Remember(Ip(1), "a", seconds(1000), now);
  EXPECT_TRUE(fresh(seconds(999)));
  EXPECT_TRUE(memory.Lookup(Ip(2), now).empty());
}

TEST(NameMemoryTest, ServicesOnOneAddressStayDistinctAndBounded) {
  NameMemory memory;
  const auto now = NameMemory::Clock::now();
  for (int i = 0; i < 40; ++i) memory.Remember(Ip(1), std::to_string(i), seconds(60), now);
  const auto names = memory.Lookup(Ip(1), now);
  ASSERT_EQ(names.size(), NameMemory::kMaxNames);
  EXPECT_EQ(names.front().name, "39");
}

TEST(NameMemoryTest, TheLeastRecentlyUsedAddressGoesFirst) {
  NameMemory memory;
  const auto now = NameMemory::Clock::now();
  for (uint32_t i = 0; i < NameMemory::kMaxAddresses; ++i) {
    memory.Remember(Ip(i), "a", seconds(60), now);
  }
  EXPECT_FALSE(memory.Lookup(Ip(0), now).empty());
  memory.Remember(Ip(1'000'000), "a", seconds(60), now);
  EXPECT_EQ(memory.size(), NameMemory::kMaxAddresses);
  EXPECT_FALSE(memory.Lookup(Ip(0), now).empty());
  EXPECT_TRUE(memory.Lookup(Ip(1), now).empty());
}

}  // namespace
}  // namespace cleanroom::doors
