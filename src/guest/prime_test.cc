#include "guest/prime.h"

#include <gtest/gtest.h>

namespace cleanroom::guest {
namespace {

TEST(PrimeTest, TheOptionIsAWordOfItsOwn) {
  EXPECT_EQ(PrimeImageSerial("console=ttyS0 cleanroom.prime=cr-image quiet\n"), "cr-image");
  EXPECT_EQ(PrimeImageSerial("cleanroom.prime=x"), "x");
  EXPECT_EQ(PrimeImageSerial("console=ttyS0 xcleanroom.prime=cr-image"), std::nullopt);
  EXPECT_EQ(PrimeImageSerial("quiet\n"), std::nullopt);
  EXPECT_EQ(PrimeImageSerial(""), std::nullopt);
}

}  // namespace
}  // namespace cleanroom::guest
