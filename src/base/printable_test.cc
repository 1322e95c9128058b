#include "base/printable.h"

#include <gtest/gtest.h>

namespace cleanroom {
namespace {

TEST(PrintableTest, WhatMayBeShownStays) {
  const std::string text = "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xb3";
  EXPECT_EQ(EscapeUnprintable(text), text);
  EXPECT_EQ(ReplaceUnprintable(text), text);
}

TEST(PrintableTest, ControlsAndBrokenBytesGo) {
  EXPECT_EQ(EscapeUnprintable("a\x1b[2J\n\x7f\xff"), "a\\x1b[2J\\x0a\\x7f\\xff");
  EXPECT_EQ(EscapeUnprintable("a\n\tb", "\n"), "a\n\\x09b");
  EXPECT_EQ(ReplaceUnprintable("a\x1b\xc2\x9b"
                               "2J\t",
                               "\t"),
            "a???2J\t");
  // Overlong, a surrogate, beyond the last, cut off.
  for (const char* bad : {"\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    EXPECT_EQ(PrintableLength(bad), 0U) << EscapeUnprintable(bad);
  }
}

TEST(PrintableTest, WhatReordersGoes) {
  for (const char* hidden : {"\xd8\x9c", "\xe2\x80\x8e", "\xe2\x80\x8f", "\xe2\x80\xaa",
                             "\xe2\x80\xae", "\xe2\x81\xa6", "\xe2\x81\xa9"}) {
    EXPECT_EQ(PrintableLength(hidden), 0U) << EscapeUnprintable(hidden);
  }
  EXPECT_EQ(PrintableLength("\xe2\x80\x93"), 3U);  // a dash, between them
  EXPECT_EQ(PrintableLength("\xe2\x81\xaa"), 3U);
}

}  // namespace
}  // namespace cleanroom
