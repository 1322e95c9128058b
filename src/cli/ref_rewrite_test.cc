#include "cli/ref_rewrite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cleanroom::cli {
namespace {

using testing::HasSubstr;

TEST(RewriteImageRefTest, ChangesTheScalarAndNothingElse) {
  const auto result = RewriteImageRef(
      "# top\nversion: 1\nsandbox:\n  image:   # é\n    ref: docker.io/library/a@sha256:00   # why\n  ttl_minutes: 5\n", "f",
      "docker.io/library/a@sha256:11");
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(*result,
            "# top\nversion: 1\nsandbox:\n  image:   # é\n    ref: docker.io/library/a@sha256:11   # why\n  ttl_minutes: 5\n");
}

TEST(RewriteImageRefTest, KeepsQuotesAndFlowStyle) {
  EXPECT_EQ(RewriteImageRef("sandbox: { image: { ref: 'old' } }\n", "f", "new:1").value(),
            "sandbox: { image: { ref: 'new:1' } }\n");
  EXPECT_EQ(RewriteImageRef("sandbox: {\"é\": 1, image: {ref: \"old\"}}\n", "f", "new").value(),
            "sandbox: {\"é\": 1, image: {ref: \"new\"}}\n");
}

TEST(RewriteImageRefTest, RefusesWhatIsNotThereOrNotPlain) {
  for (const char* text : {"version: 1\n", "sandbox: {image: {ref: []}}\n", "sandbox:\n  image:\n    ref: \"a\\x62\"\n"}) {
    const auto result = RewriteImageRef(text, "f.yaml", "new");
    ASSERT_FALSE(result.has_value()) << text;
    EXPECT_EQ(result.error().code(), ErrorCode::kPolicyInvalid);
    EXPECT_THAT(result.error().message(), HasSubstr("f.yaml:"));
  }
}

}  // namespace
}  // namespace cleanroom::cli
