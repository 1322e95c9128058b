#include "base/check.h"

#include <gtest/gtest.h>

namespace cleanroom {
namespace {

TEST(CheckTest, WhatHoldsGoesOn) { CR_CHECK(1 + 1 == 2, "sums are right"); }

TEST(CheckDeathTest, ABreachSaysWhereAndWhat) {
  EXPECT_DEATH(CR_CHECK(1 + 1 == 3, "sums are wrong"),
               "check_test.cc:[0-9]+: check failed: 1 \\+ 1 == 3: sums are wrong");
}

}  // namespace
}  // namespace cleanroom
