#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "base/result.h"

namespace cleanroom {
namespace {

TEST(ErrorTest, EveryCodeHasItsOwnSpelling) {
  for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    EXPECT_EQ(ErrorCodeFromString(ToString(code)), code) << i;
  }
  EXPECT_EQ(ErrorCodeFromString("from_the_future"), ErrorCode::kInternal);
}

TEST(ErrorTest, ContextIsOutermostFirst) {
  const Error error = Error::FromErrno(ErrorCode::kNotFound, ENOENT, "open a").Context("reading b");
  EXPECT_EQ(error.ToString(), "not_found: reading b: open a: No such file or directory");
  EXPECT_EQ(error.errno_value(), ENOENT);
}

Result<int> Half(int value) {
  if (value % 2 != 0) return Err(ErrorCode::kInvalidArgument, "odd");
  return value / 2;
}

Result<int> Quarter(int value) {
  CR_TRY(Half(value));
  CR_TRY_ASSIGN(const int half, Half(value));
  return Half(half);
}

TEST(ErrorTest, TryReturnsTheFirstError) {
  EXPECT_EQ(Quarter(8).value(), 2);
  EXPECT_EQ(Quarter(6).error().message(), "odd");
}

}  // namespace
}  // namespace cleanroom
