#include "repository/bundle_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/result_matchers.h"

namespace cleanroom::repository {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kV2 = "# v2 git bundle\n", kV3 = "# v3 git bundle\n";
const std::string kA(40, 'a'), kB(40, 'b'), kC(64, 'c');

TEST(BundleHeaderTest, SaysWhatItBuildsOnAndWhatItHas) {
  const std::string head = kV2 + "-" + kB + " the subject\n-" + kB + "\n" + kA + " HEAD\n\n";
  const auto plain = ParseBundleHeader(head + "PACK");
  ASSERT_THAT(plain, IsOk());
  EXPECT_THAT(plain->prerequisites, ElementsAre(kB, kB));
  EXPECT_EQ(plain->tip, kA);
  EXPECT_EQ(plain->object_format, "sha1");
  EXPECT_EQ(plain->pack, head.size());
  const auto newer = ParseBundleHeader(kV3 + "@object-format=sha256\n" + kC + " HEAD\n\n");
  ASSERT_THAT(newer, IsOk());
  EXPECT_EQ(newer->object_format, "sha256");
  EXPECT_EQ(newer->tip, kC);
}

TEST(BundleHeaderTest, RefusesWhatIsNone) {
  for (const std::string& bytes :
       {std::string(), std::string("PACK"), kV2, kV2 + "\n", kV2 + kA + " HEAD\n",
        kV2 + kA + " HEAD\n" + kB + " other\n\n", kV2 + kA + "\n\n", kV2 + kA + " \n\n",
        kV2 + kC + " HEAD\n\n", kV2 + kA + " HEAD\n-" + kB + "\n\n", kV2 + "-short\n\n",
        kV2 + "@object-format=sha1\n" + kA + " HEAD\n\n",
        kV3 + "@filter=blob:none\n" + kA + " H\n\n",
        kV3 + "@object-format=md5\n" + kA + " HEAD\n\n",
        kV3 + kA + " HEAD\n@object-format=sha1\n\n"}) {
    EXPECT_THAT(ParseBundleHeader(bytes), HasError(ErrorCode::kDataCorrupt)) << bytes;
  }
}

TEST(BundleHeaderTest, HasLimits) {
  std::string many = kV2;
  for (size_t i = 0; i <= kMaxPrerequisites; ++i) many += "-" + kB + "\n";
  EXPECT_THAT(ParseBundleHeader(many + kA + " HEAD\n\n"),
              HasError(ErrorCode::kResourceExhausted, HasSubstr("more than 1000")));
  const std::string line = kA + " " + std::string(kMaxBundleHeader, 'x') + "\n\n";
  EXPECT_THAT(ParseBundleHeader(kV2 + line), HasError(ErrorCode::kResourceExhausted));
}

}  // namespace
}  // namespace cleanroom::repository
