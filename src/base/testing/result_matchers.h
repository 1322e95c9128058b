// For tests: what a Result holds, said so that a failure shows the whole error.
//
//   EXPECT_THAT(store.Open(path), IsOk());
//   EXPECT_THAT(ParsePort("80"), IsOkAnd(80));
//   EXPECT_THAT(ParsePort("x"), HasError(ErrorCode::kInvalidArgument, HasSubstr("'x'")));
#pragma once

#include <gmock/gmock.h>

#include <ostream>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom {

// How gtest shows a code.
inline void PrintTo(ErrorCode code, std::ostream* out) { *out << ToString(code); }

MATCHER(IsOk, negation ? "is an error" : "is a value") {
  if (arg.has_value()) return true;
  *result_listener << "the error " << arg.error().ToString();
  return false;
}

// A value that `matcher` (or a plain value) accepts.
MATCHER_P(IsOkAnd, matcher, "is a value that fits") {
  if (!arg.has_value()) {
    *result_listener << "the error " << arg.error().ToString();
    return false;
  }
  return testing::ExplainMatchResult(matcher, *arg, result_listener);
}

MATCHER_P(HasError, code, "is the error " + std::string(ToString(code))) {
  if (arg.has_value()) {
    *result_listener << "a value";
    return false;
  }
  if (arg.error().code() == code) return true;
  *result_listener << "the error " << arg.error().ToString();
  return false;
}

// The message, without the code, is one that `message` accepts.
MATCHER_P2(HasError, code, message, "is the error " + std::string(ToString(code))) {
  if (arg.has_value()) {
    *result_listener << "a value";
    return false;
  }
  if (arg.error().code() != code) {
    *result_listener << "the error " << arg.error().ToString();
    return false;
  }
  return testing::ExplainMatchResult(message, arg.error().message(), result_listener);
}

}  // namespace cleanroom
