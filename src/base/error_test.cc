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

TEST(ErrorTest, WhatIsSaidNearestToTheCauseStays) {
  const Error error = Error(ErrorCode::kUnavailable, "silent")
                          .About(SubjectKind::kRegistry, "r.example")
                          .Remedy("Wait")
                          .Context("pulling")
                          .About(SubjectKind::kImage, "r.example/app")
                          .Remedy("Give up")
                          .As(ErrorCode::kUpstreamError);
  EXPECT_EQ(error.ToString(), "upstream_error: pulling: silent");
  EXPECT_EQ(error.subject(), (Subject{SubjectKind::kRegistry, "r.example"}));
  EXPECT_EQ(error.remedy(), "Wait");
}

TEST(ErrorTest, EveryKindOfSubjectHasItsOwnSpelling) {
  for (int i = 0; i <= static_cast<int>(SubjectKind::kRepository); ++i) {
    const auto kind = static_cast<SubjectKind>(i);
    EXPECT_EQ(SubjectKindFromString(ToString(kind)), kind) << i;
  }
  EXPECT_EQ(SubjectKindFromString("from_the_future"), SubjectKind::kNone);
}

// What may succeed when it is tried again is also worth another way to start a machine, and says
// nothing that a user could change.
TEST(ErrorTest, TheClassesOfCodesAgree) {
  int retryable = 0;
  for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    if (!IsRetryable(code)) continue;
    ++retryable;
    EXPECT_TRUE(IsMachineTrouble(code)) << i;
    EXPECT_FALSE(TellsWhatToDo(code)) << i;
  }
  EXPECT_EQ(retryable, 2);
  EXPECT_FALSE(IsMachineTrouble(ErrorCode::kResourceExhausted));
  EXPECT_FALSE(TellsWhatToDo(ErrorCode::kInternal));
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
