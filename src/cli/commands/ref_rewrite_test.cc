#include "cli/commands/ref_rewrite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cleanroom::cli {
namespace {

using testing::HasSubstr;

TEST(RewriteImageRefTest, ChangesTheScalarAndNothingElse) {
  const auto result = RewriteImageRef(
      "# top\nversion: 1\nsandbox:\n  image:   # é\n    ref: docker.io/library/a@sha256:00   # "
      "why\n  ttl_minutes: 5\n",
      "f", "docker.io/library/a@sha256:11");
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(*result,
            "# top\nversion: 1\nsandbox:\n  image:   # é\n    ref: docker.io/library/a@sha256:11   "
            "# why\n  ttl_minutes: 5\n");
}

TEST(RewriteImageRefTest, KeepsQuotesAndFlowStyle) {
  EXPECT_EQ(RewriteImageRef("sandbox: { image: { ref: 'old' } }\n", "f", "new:1").value(),
            "sandbox: { image: { ref: 'new:1' } }\n");
  EXPECT_EQ(RewriteImageRef("sandbox: {\"é\": 1, image: {ref: \"old\"}}\n", "f", "new").value(),
            "sandbox: {\"é\": 1, image: {ref: \"new\"}}\n");
}

// Each has `old` where the new reference must come, and nowhere else.
TEST(RewriteImageRefTest, OddLayouts) {
  for (const std::string text : {
           "version: 1\r\nsandbox:\r\n  image:\r\n    ref: old\r\n  ttl_minutes: 5\r\n",
           "version: 1\r\nsandbox:\r\n  image: { ref: 'old' } # why\r\n",
           "version: 1\rsandbox:\r  image:\r    ref: old\r",
           "sandbox:\n  image:\n    ref: old",
           "sandbox:\n  image:\n    ref: old # x\n",
           "sandbox:\n  image:\n    ref: old#x\n",
           "sandbox:\n  image:\n    ref:      \"old\"#x\n",
           "sandbox:\n  image:\n    ref:\n      old\n",
           "sandbox:\n  image:\n    ref:   # the image\n\n      # is\n      'old'   # this\n",
           "sandbox:\n    image:\n        ref   : old\n",
           "sandbox:\n  image:\n    ? ref\n    : old\n",
           "\xEF\xBB\xBFsandbox: {image: {ref: old}}\n",
           "\xEF\xBB\xBF# comment\nsandbox: {image: {ref: old}}\n",
           "{\"version\":1,\"sandbox\":{\"image\":{\"ref\":\"old\"},\"ttl_minutes\":5}}",
           R"({"sandbox": {
  "image":
    {"ref":
      "old"}
}}
)",
           "'sandbox':\n  \"image\":\n    'ref': old\n",
           "%YAML 1.1\n---\nsandbox:\n  image:\n    ref: old\n...\n",
           "--- # document\nsandbox: {image: {ref: old}}\n",
           "# a\xE2\x80\xA8# b\xC2\x85# \xF0\x9F\x98\x80\nsandbox: {image: {ref: old}}\n",
           "x: \"\xF0\x9F\x98\x80\"\nsandbox: {\"\xC3\xA9\": 1, image: {ref: old}}\n",
           "sandbox:\n  image: {ref: old}\nrun:\n  before: |\n    cat <<E\n    ref: other\n    E\n",
       }) {
    std::string expected = text;
    // "old" alone: a plain scalar goes on to a " #".
    const size_t at = expected.find("old");
    const size_t size = expected.compare(at, 5, "old#x") == 0 ? 5 : 3;
    expected.replace(at, size, "host.example/new@sha256:11");
    const auto result = RewriteImageRef(text, "f.yaml", "host.example/new@sha256:11");
    ASSERT_TRUE(result.has_value()) << text << "\n" << result.error().ToString();
    EXPECT_EQ(*result, expected);
  }
}

TEST(PinnedWithTagTest, TakesTheTagThatWasAskedFor) {
  const std::string digest = "@sha256:" + std::string(64, '1');
  const std::string old = "@sha256:" + std::string(64, '0');
  EXPECT_EQ(PinnedWithTag("h.example/a:12", "h.example/a" + digest).value(),
            "h.example/a:12" + digest);
  EXPECT_EQ(PinnedWithTag("h.example:5000/a", "h.example:5000/a" + digest).value(),
            "h.example:5000/a" + digest);
  EXPECT_EQ(PinnedWithTag("alpine:3" + old, "docker.io/library/alpine" + digest).value(),
            "docker.io/library/alpine:3" + digest);
  EXPECT_FALSE(PinnedWithTag("h.example/a:12", "h.example/a:12").has_value());
}

TEST(RewriteImageRefTest, RefusesWhatIsNotThereOrNotPlain) {
  for (const char* text :
       {"version: 1\n", "sandbox: {image: {ref: []}}\n",
        "sandbox:\n  image:\n    ref: \"a\\x62\"\n", "sandbox:\n  image:\n    ref: 'it''s'\n",
        "sandbox:\n  image:\n    ref: >-\n      old\n",
        "sandbox:\n  image:\n    ref: old\n      more\n", "sandbox: [image]\n",
        "sandbox: {image: {ref: &a old}, x: *a}\n", "sandbox: {image: {ref: !!str old}}\n",
        "sandbox: {image: old}\n", "sandbox:\n  image: {ref: \"\"}\n",
        "x: &a old\nsandbox: {image: {ref: *a}}\n"}) {
    const auto result = RewriteImageRef(text, "f.yaml", "new");
    ASSERT_FALSE(result.has_value()) << text;
    EXPECT_EQ(result.error().code(), ErrorCode::kPolicyInvalid);
    EXPECT_THAT(result.error().message(), HasSubstr("f.yaml:"));
  }
}

}  // namespace
}  // namespace cleanroom::cli
