#include "guest/serve/prime.h"

#include <gtest/gtest.h>

namespace cleanroom::guest {
namespace {

TEST(PrimeTest, TheOptionIsAWordOfItsOwn) {
  // Field 1, "cr-image".
  const std::string option = "cleanroom.prepare=0a0863722d696d616765";
  for (const std::string& line :
       {option, "console=ttyS0 " + option + " quiet\n", option + "\n", "quiet " + option}) {
    auto read = ReadPrepareOption(line);
    ASSERT_TRUE(read) << line;
    ASSERT_TRUE(*read) << line;
    EXPECT_EQ((*read)->image_device(), "cr-image");
  }
  for (const std::string& line :
       {std::string(), std::string("quiet\n"), "x" + option, std::string("cleanroom.prepare")}) {
    auto read = ReadPrepareOption(line);
    ASSERT_TRUE(read) << line;
    EXPECT_FALSE(*read) << line;
  }
}

TEST(PrimeTest, WhatCannotBeReadIsAnError) {
  for (const char* line : {"cleanroom.prepare=", "cleanroom.prepare=0", "cleanroom.prepare=0a08zz",
                           "cleanroom.prepare=0a08", "cleanroom.prepare=-1"}) {
    auto read = ReadPrepareOption(line);
    ASSERT_FALSE(read) << line;
    EXPECT_EQ(read.error().code(), ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace cleanroom::guest
