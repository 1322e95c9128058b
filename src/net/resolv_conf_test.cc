#include "net/resolv_conf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace cleanroom::net {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Parsed(std::string_view text) {
  std::vector<std::string> servers;
  for (const auto& server : ParseResolvConf(text)) servers.push_back(ToString(server));
  return servers;
}

TEST(ResolvConfTest, NameserversInOrder) {
  EXPECT_THAT(Parsed("# written by a tool\n"
                     "domain example.com\n"
                     "search example.com example.org\n"
                     "nameserver 192.0.2.1\n"
                     "\tnameserver\t 2001:db8::1  \r\n"
                     "nameserver 192.0.2.1\n"
                     "options edns0 trust-ad\n"
                     "nameserver 192.0.2.2 # with a comment"),
              ElementsAre("192.0.2.1", "2001:db8::1", "192.0.2.2"));
}

TEST(ResolvConfTest, WhatIsUnknownIsLeftOut) {
  EXPECT_THAT(Parsed("nameserver fe80::1%eth0\n"
                     "nameserver resolver.example.com\n"
                     "nameserver\n"
                     "nameservers 192.0.2.7\n"
                     ";nameserver 192.0.2.8\n"
                     "nameserver 192.0.2.9"),
              ElementsAre("192.0.2.9"));
}

TEST(ResolvConfTest, WithoutAnyTheLocalOne) {
  EXPECT_THAT(Parsed(""), ElementsAre("127.0.0.1"));
  EXPECT_THAT(Parsed("search example.com\n"), ElementsAre("127.0.0.1"));
}

TEST(ResolvConfTest, AtMostEight) {
  std::string text;
  for (int i = 1; i < 20; ++i) text += "nameserver 192.0.2." + std::to_string(i) + "\n";
  EXPECT_EQ(Parsed(text).size(), 8U);
}

}  // namespace
}  // namespace cleanroom::net
