#include "doors/dns/dns_limits.h"

#include <gtest/gtest.h>

#include "doors/dns/dns_message.h"

namespace cleanroom::doors {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
namespace type = wire::dns_type;

const TokenBucket::Clock::time_point kStart{seconds(1000)};

std::string Name(int number) { return "host-" + std::to_string(number) + ".wild.example.com"; }

TEST(TunnelGuardTest, NamesThatLookLikeData) {
  TunnelGuard guard;
  const std::string fine = std::string(50, 'a') + ".wild.example.com";
  EXPECT_FALSE(guard.CheckQuery(fine, type::kA, kStart).has_value());
  const auto label = guard.CheckQuery(std::string(51, 'a') + ".example.com", type::kA, kStart);
  ASSERT_TRUE(label.has_value());
  EXPECT_EQ(*label, "a label of 51 characters under a wildcard looks like data; at most 50 pass");
  const std::string part(45, 'b');
  const std::string name = part + "." + part + "." + part + ".example.com";
  EXPECT_FALSE(guard.CheckQuery(name, type::kA, kStart).has_value());
  EXPECT_TRUE(guard.CheckQuery("a." + name, type::kA, kStart).has_value());
}

TEST(TunnelGuardTest, NewNamesOfAParentAreRare) {
  TunnelGuard guard;
  int passed = 0;
  for (int i = 0; i < 200; ++i) {
    if (!guard.CheckQuery(Name(i), type::kA, kStart)) ++passed;
  }
  EXPECT_EQ(passed, 60);
  // Known names go on, and so does another parent.
  for (int i = 0; i < 60; ++i) EXPECT_FALSE(guard.CheckQuery(Name(i), type::kAaaa, kStart));
  EXPECT_FALSE(guard.CheckQuery("a.other.example.com", type::kA, kStart).has_value());
  passed = 0;
  for (int i = 200; i < 400; ++i) {
    if (!guard.CheckQuery(Name(i), type::kA, kStart + seconds(5))) ++passed;
  }
  EXPECT_EQ(passed, 10);
}

TEST(TunnelGuardTest, TextIsRarerStill) {
  TunnelGuard guard;
  int passed = 0;
  for (int i = 0; i < 50; ++i) {
    if (!guard.CheckQuery(Name(0), type::kTxt, kStart)) ++passed;
  }
  EXPECT_EQ(passed, 10);
  EXPECT_TRUE(guard.CheckQuery(Name(0), type::kMx, kStart).has_value());
  EXPECT_FALSE(guard.CheckQuery(Name(0), type::kA, kStart).has_value());
  EXPECT_FALSE(guard.CheckQuery(Name(0), type::kHttps, kStart).has_value());
  EXPECT_FALSE(guard.CheckQuery(Name(0), type::kTxt, kStart + seconds(6)).has_value());
}

TEST(TunnelGuardTest, BytesSentOutAreCounted) {
  TunnelGuard guard;
  const std::string name = std::string(49, 'a') + ".wild.example.com";
  int sent = 0;
  for (int i = 0; i < 1000; ++i) {
    if (!guard.CheckSending(name, kStart)) ++sent;
  }
  EXPECT_EQ(sent, static_cast<int>(dns_limit::kNameBytesPerMinute) / static_cast<int>(name.size()));
  EXPECT_FALSE(guard.CheckSending("a.other.example.com", kStart).has_value());
  EXPECT_FALSE(guard.CheckSending(name, kStart + seconds(1)).has_value());
}

TEST(TunnelGuardTest, MemoryIsBounded) {
  TunnelGuard guard;
  for (int i = 0; i < 5000; ++i) {
    const std::string name = "a.p" + std::to_string(i % 900) + "-" + std::to_string(i) + ".example";
    (void)guard.CheckQuery(name, type::kA, kStart);
  }
  EXPECT_LE(guard.known_names(), dns_limit::kKnownNames);
  // Parents beyond the limit share one allowance, which is used up.
  EXPECT_TRUE(guard.CheckQuery("a.one-more.example", type::kA, kStart).has_value());
}

}  // namespace
}  // namespace cleanroom::doors
