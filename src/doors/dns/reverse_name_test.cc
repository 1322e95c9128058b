#include "doors/dns/reverse_name.h"

#include <gtest/gtest.h>

namespace cleanroom::doors {
namespace {

std::string Parsed(std::string_view name) {
  const auto address = ParseReverseName(name);
  return address ? address->ToString() : "none";
}

TEST(ReverseNameTest, WholeNamesOnly) {
  EXPECT_EQ(Parsed("4.3.2.1.in-addr.arpa"), "1.2.3.4");
  EXPECT_EQ(Parsed("255.0.0.10.in-addr.arpa"), "10.0.0.255");
  EXPECT_EQ(Parsed("b.a.9.8.7.6.5.4.3.2.1.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
            "2001:db8::123:4567:89ab");
  EXPECT_EQ(Parsed("3.2.1.in-addr.arpa"), "none");
  EXPECT_EQ(Parsed("5.4.3.2.1.in-addr.arpa"), "none");
  EXPECT_EQ(Parsed("256.3.2.1.in-addr.arpa"), "none");
  EXPECT_EQ(Parsed("04.3.2.1.in-addr.arpa"), "none");
  EXPECT_EQ(Parsed("x.3.2.1.in-addr.arpa"), "none");
  EXPECT_EQ(Parsed(".3.2.1.in-addr.arpa"), "none");
  EXPECT_EQ(Parsed("in-addr.arpa"), "none");
  EXPECT_EQ(Parsed("1.ip6.arpa"), "none");
  EXPECT_EQ(Parsed("example.com"), "none");
}

TEST(ReverseNameTest, ZonesOfReverseNames) {
  EXPECT_TRUE(IsReverseName("4.3.2.1.in-addr.arpa"));
  EXPECT_TRUE(IsReverseName("in-addr.arpa"));
  EXPECT_TRUE(IsReverseName("8.ip6.arpa"));
  EXPECT_FALSE(IsReverseName("xin-addr.arpa"));
  EXPECT_FALSE(IsReverseName("home.arpa"));
}

}  // namespace
}  // namespace cleanroom::doors
