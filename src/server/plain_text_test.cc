#include "server/plain_text.h"

#include <gtest/gtest.h>

namespace cleanroom::server {
namespace {

TEST(PlainTextTest, KeepsTextAndDropsControls) {
  EXPECT_EQ(PlainText("a\tb\r\nc", 100), "a\tb\nc");
  EXPECT_EQ(PlainText("\x1b[31mred\x7f", 100), "?[31mred?");
  EXPECT_EQ(PlainText("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", 100),
            "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
}

TEST(PlainTextTest, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(PlainText("a\xff\xc3", 100), "a??");
  EXPECT_EQ(PlainText("\xc0\xaf", 100), "??");       // overlong
  EXPECT_EQ(PlainText("\xed\xa0\x80", 100), "???");  // surrogate
  EXPECT_EQ(PlainText("\xc2\x9b", 100), "??");       // C1 control: CSI
  EXPECT_EQ(PlainText(std::string_view("a\0b", 3), 100), "a?b");
}

TEST(PlainTextTest, KeepsTheEnd) { EXPECT_EQ(PlainText("0123456789", 4), "6789"); }

}  // namespace
}  // namespace cleanroom::server
