#include "base/id.h"

#include <gtest/gtest.h>

#include <concepts>
#include <type_traits>

namespace cleanroom {
namespace {

TEST(IdTest, SortsByTimeAndHasTheForm) {
  const auto now = std::chrono::system_clock::now();
  const std::string first = NewId(now);
  const std::string second = NewId(now + std::chrono::milliseconds(1));
  EXPECT_TRUE(IsId(first)) << first;
  EXPECT_LT(first, second);
  EXPECT_EQ(first.size(), 26U);
}

TEST(IdTest, RefusesEverythingElse) {
  for (const auto* bad :
       {"", "../../etc/passwd", "01KR7P9KSMFA7RMYYPYQW2W8R0", "01kr7p9ksmfa7rmyypyqw2w8r",
        "81kr7p9ksmfa7rmyypyqw2w8r0", "01kr7p9ksmfa7rmyypyqw2w8l0"}) {
    EXPECT_FALSE(IsId(bad)) << bad;
    EXPECT_EQ(CheckId(bad, "sandbox id").error().code(), ErrorCode::kInvalidArgument);
  }
  EXPECT_TRUE(IsId("01kr7p9ksmfa7rmyypyqw2w8r0"));
}

// One kind is neither taken for another nor compared with it.
static_assert(!std::is_constructible_v<SandboxId, ExecutionId>);
static_assert(!std::equality_comparable_with<SandboxId, ExecutionId>);
static_assert(!std::is_convertible_v<std::string, SandboxId>);

TEST(IdTest, AKindOfIdIsItsText) {
  const SandboxId id("01kr7p9ksmfa7rmyypyqw2w8r0");
  EXPECT_EQ(fmt::format("{}", id), "01kr7p9ksmfa7rmyypyqw2w8r0");
  EXPECT_TRUE(CheckId(id, "sandbox id"));
  EXPECT_FALSE(CheckId(SandboxId("x"), "sandbox id"));
  EXPECT_TRUE(SandboxId().empty());
  EXPECT_LT(SandboxId::New(std::chrono::system_clock::time_point()), id);
}

}  // namespace
}  // namespace cleanroom
