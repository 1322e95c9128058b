#include "base/text_coding.h"

#include <gtest/gtest.h>

#include <string>

namespace cleanroom {
namespace {

// Every byte once.
std::string AllBytes() {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  return bytes;
}

// RFC 4648, section 10.
TEST(TextCodingTest, Base64) {
  EXPECT_EQ(Base64Encode("", Padding::kEquals), "");
  EXPECT_EQ(Base64Encode("f", Padding::kEquals), "Zg==");
  EXPECT_EQ(Base64Encode("fo", Padding::kNone), "Zm8");
  EXPECT_EQ(Base64Encode("foobar", Padding::kEquals), "Zm9vYmFy");
  EXPECT_EQ(Base64Decode("Zg=="), "f");
  EXPECT_EQ(Base64Decode("Zm8"), "fo");
  EXPECT_EQ(Base64Decode(Base64Encode(AllBytes(), Padding::kNone)), AllBytes());
  EXPECT_EQ(Base64Decode(Base64Encode(AllBytes(), Padding::kEquals)), AllBytes());
  for (const char* bad : {"Z", "Z===", "Zg!=", "Z g=", "=Zg="}) {
    EXPECT_FALSE(Base64Decode(bad)) << bad;
  }
}

TEST(TextCodingTest, Hex) {
  EXPECT_EQ(HexEncode("\x01\xab"), "01ab");
  EXPECT_EQ(HexDecode("01aB"), "\x01\xab");
  EXPECT_EQ(HexDecode("0"), std::nullopt);
  EXPECT_EQ(HexDecode("0g"), std::nullopt);
  EXPECT_EQ(HexDecode(HexEncode(AllBytes())), AllBytes());
}

TEST(TextCodingTest, Percent) {
  EXPECT_EQ(PercentEncode("a b%\n"), "a b%25%0A");
  EXPECT_EQ(PercentDecode("a%20b%"), "a b%");
  EXPECT_EQ(PercentDecode("%zz%4"), "%zz%4");
  EXPECT_EQ(PercentDecode(PercentEncode(AllBytes())), AllBytes());
}

}  // namespace
}  // namespace cleanroom
