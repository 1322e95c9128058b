#include "base/sha256/sha256.h"

#include <gtest/gtest.h>

namespace cleanroom {
namespace {

// FIPS 180-2, appendix B.
TEST(Sha256Test, HashesTheStandardsExamples) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 million;
  for (int i = 0; i < 1000; ++i) million.Add(std::string(1000, 'a'));
  EXPECT_EQ(million.Finish(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, ListsOfPartsDifferWhereTheirBordersDo) {
  EXPECT_NE(Sha256OfParts({"ab", "c"}), Sha256OfParts({"a", "bc"}));
  EXPECT_NE(Sha256OfParts({"abc", ""}), Sha256OfParts({"abc"}));
  EXPECT_EQ(Sha256OfParts({"ab", "c"}), Sha256Hex("2;ab1;c"));
}

}  // namespace
}  // namespace cleanroom
