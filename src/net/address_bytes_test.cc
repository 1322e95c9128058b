#include "net/address_bytes.h"

#include <gtest/gtest.h>

#include <string>

namespace cleanroom::net {
namespace {

TEST(AddressBytesTest, KeepTheFamilyThatWasWritten) {
  EXPECT_EQ(*AddressBytes("10.0.2.2"), std::string("\x0a\x00\x02\x02", 4));
  EXPECT_EQ(*AddressBytes("::"), std::string(16, '\0'));
  EXPECT_EQ(*AddressBytes("::ffff:0.0.0.0"),
            std::string(10, '\0') + "\xff\xff" + std::string(4, '\0'));
  EXPECT_FALSE(AddressBytes("10.0.2"));
  EXPECT_FALSE(AddressBytes("host:1"));
}

TEST(AddressBytesTest, OfHardware) {
  EXPECT_EQ(*MacBytes("02:00:00:00:00:01"), std::string("\x02\x00\x00\x00\x00\x01", 6));
  EXPECT_FALSE(MacBytes("02:00"));
}

}  // namespace
}  // namespace cleanroom::net
