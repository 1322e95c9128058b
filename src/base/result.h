// Result<T>: a value or an Error. The way every expected failure is reported (see error.h).
//
// The macros are statements, never expressions: GCC 12 miscompiles statement expressions in
// coroutines. The CO_ forms are for coroutines (they co_return).
#pragma once

#include <expected>
#include <utility>

#include "base/error.h"

namespace cleanroom {

template <typename T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> Err(ErrorCode code, std::string message) {
  return std::unexpected<Error>(std::in_place, code, std::move(message));
}
inline std::unexpected<Error> Err(Error error) { return std::unexpected<Error>(std::move(error)); }
// Reads errno at the point of the call.
std::unexpected<Error> ErrErrno(ErrorCode code, std::string_view what);

}  // namespace cleanroom

#define CR_CONCAT_INNER(a, b) a##b
#define CR_CONCAT(a, b) CR_CONCAT_INNER(a, b)

// CR_TRY(expr): returns the error of a Result, else goes on.
#define CR_TRY(expr)                                                         \
  do {                                                                       \
    auto cr_result_ = (expr);                                                \
    if (!cr_result_) return ::cleanroom::Err(std::move(cr_result_).error()); \
  } while (0)
#define CR_CO_TRY(expr)                                                         \
  do {                                                                          \
    auto cr_result_ = (expr);                                                   \
    if (!cr_result_) co_return ::cleanroom::Err(std::move(cr_result_).error()); \
  } while (0)

// CR_TRY_ASSIGN(auto x, expr): declares (or assigns) x from the value of a Result, or returns its
// error.
#define CR_TRY_ASSIGN(target, expr) \
  CR_TRY_ASSIGN_IMPL(return, target, expr, CR_CONCAT(cr_value_, __LINE__))
#define CR_CO_TRY_ASSIGN(target, expr) \
  CR_TRY_ASSIGN_IMPL(co_return, target, expr, CR_CONCAT(cr_value_, __LINE__))
// NOLINTBEGIN(bugprone-macro-parentheses): `target` may be a declaration, `leave` is a keyword.
#define CR_TRY_ASSIGN_IMPL(leave, target, expr, name)         \
  auto name = (expr);                                         \
  if (!name) leave ::cleanroom::Err(std::move(name).error()); \
  target = *std::move(name)
// NOLINTEND(bugprone-macro-parentheses)
