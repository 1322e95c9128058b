#include "base/testing/result_matchers.h"

#include <gtest/gtest.h>

#include <string>

namespace cleanroom {
namespace {

using testing::Gt;
using testing::HasSubstr;
using testing::Not;

Result<int> Value() { return 7; }
Result<int> Failure() { return Err(ErrorCode::kNotFound, "no such thing"); }
Result<void> Done() { return {}; }

template <typename M, typename T>
std::string Said(const M& matcher, const T& value) {
  testing::StringMatchResultListener listener;
  testing::ExplainMatchResult(matcher, value, &listener);
  return listener.str();
}

TEST(ResultMatchersTest, Values) {
  EXPECT_THAT(Value(), IsOk());
  EXPECT_THAT(Done(), IsOk());
  EXPECT_THAT(Value(), IsOkAnd(7));
  EXPECT_THAT(Value(), IsOkAnd(Gt(6)));
  EXPECT_THAT(Value(), Not(IsOkAnd(8)));
  EXPECT_THAT(Failure(), Not(IsOk()));
  EXPECT_THAT(Failure(), Not(IsOkAnd(7)));
}

TEST(ResultMatchersTest, Errors) {
  EXPECT_THAT(Failure(), HasError(ErrorCode::kNotFound));
  EXPECT_THAT(Failure(), HasError(ErrorCode::kNotFound, HasSubstr("such")));
  EXPECT_THAT(Failure(), Not(HasError(ErrorCode::kInternal)));
  EXPECT_THAT(Failure(), Not(HasError(ErrorCode::kNotFound, HasSubstr("other"))));
  EXPECT_THAT(Value(), Not(HasError(ErrorCode::kNotFound)));
}

TEST(ResultMatchersTest, AMismatchShowsTheError) {
  EXPECT_EQ(Said(IsOk(), Failure()), "the error not_found: no such thing");
  EXPECT_EQ(Said(HasError(ErrorCode::kInternal), Failure()), "the error not_found: no such thing");
}

}  // namespace
}  // namespace cleanroom
