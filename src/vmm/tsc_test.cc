#include "vmm/tsc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/result_matchers.h"

namespace cleanroom::vmm {
namespace {

TEST(TscTest, RateFromCpuid) {
  EXPECT_EQ(TscKhzFromCpuid(2, 188, 24'000'000), 2'256'000U);
  EXPECT_EQ(TscKhzFromCpuid(0, 188, 24'000'000), 0U);
  EXPECT_EQ(TscKhzFromCpuid(2, 188, 0), 0U);
}

TEST(TscTest, RateFromReadings) {
  EXPECT_EQ(TscKhzFromReadings(1000, 1000 + 25'000'000, 7, 7 + 10'000'000), 2'500'000U);
  EXPECT_EQ(TscKhzFromReadings(5, 5, 0, 10), 0U);
  EXPECT_EQ(TscKhzFromReadings(0, 5, 10, 10), 0U);
}

TEST(TscTest, MeasurementsAgree) {
  auto first = MeasureTscKhz();
  auto second = MeasureTscKhz();
  ASSERT_THAT(first, IsOk());
  ASSERT_TRUE(second);
  EXPECT_NEAR(static_cast<double>(*first), static_cast<double>(*second),
              static_cast<double>(*first) / 500);
}

}  // namespace
}  // namespace cleanroom::vmm
