#include "base/utf8.h"

#include <gtest/gtest.h>

namespace cleanroom {
namespace {

TEST(Utf8Test, KeepsWhatIsValid) {
  for (const char* text : {"", "plain", "\x7f", "é", "€", "𝄞", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xf4\x8f\xbf\xbf", "\xc2\x80"}) {
    EXPECT_EQ(ToValidUtf8(text), text);
  }
  EXPECT_EQ(ToValidUtf8(std::string_view("a\0b", 3)), std::string_view("a\0b", 3));
}

TEST(Utf8Test, ReplacesEachByteOfWhatIsNot) {
  EXPECT_EQ(ToValidUtf8("a\xff"
                        "b"),
            "a?b");
  EXPECT_EQ(ToValidUtf8("\x80"), "?");
  EXPECT_EQ(ToValidUtf8("\xc0\xaf"), "??");            // overlong
  EXPECT_EQ(ToValidUtf8("\xe0\x80\x80"), "???");       // overlong
  EXPECT_EQ(ToValidUtf8("\xf0\x8f\xbf\xbf"), "????");  // overlong
  EXPECT_EQ(ToValidUtf8("\xed\xa0\x80"), "???");       // a surrogate
  EXPECT_EQ(ToValidUtf8("\xf4\x90\x80\x80"), "????");  // beyond U+10FFFF
  EXPECT_EQ(ToValidUtf8("\xe2\x82"), "??");            // cut short
  EXPECT_EQ(ToValidUtf8("\xe2\x28\xa1"), "?(?");
}

}  // namespace
}  // namespace cleanroom
