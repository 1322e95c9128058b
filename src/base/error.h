// Error: what went wrong, under a code that never changes once released.
//
// The code is part of the public surface (COMPAT section 4): it appears in RPC error details, on
// stderr and in records, and clients branch on it. The message is for people: it names the thing,
// the place and, where there is one, the remedy. Frames of context are added on the way up,
// outermost first.
#pragma once

#include <string>
#include <string_view>

namespace cleanroom {

enum class ErrorCode {
  kPolicyInvalid,
  kPolicyConflict,
  kBackendUnavailable,
  kBackendCapabilityMismatch,
  kFailedPrecondition,
  kHostNotAllowed,
  kRegistryNotAllowed,
  kLockfileViolation,
  kSecretScopeViolation,
  kRuntimeLaunchFailed,
  kNotFound,
  kAlreadyExists,
  kInvalidArgument,
  kResourceExhausted,
  kPermissionDenied,
  kUnauthenticated,
  kUpstreamError,  // a registry or other outside server failed or answered nonsense
  kDataCorrupt,    // bytes do not match their digest or their format
  kUnavailable,    // the peer is gone or not there yet; trying again may help
  kDeadlineExceeded,
  kCanceled,
  kUnimplemented,
  kInternal,
};

// The stable spelling, e.g. "policy_invalid".
std::string_view ToString(ErrorCode code);

// The inverse; unknown spellings (from a newer peer) become kInternal.
ErrorCode ErrorCodeFromString(std::string_view name);

class Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  // An error of a system call: the message ends with strerror(errno_value).
  static Error FromErrno(ErrorCode code, int errno_value, std::string_view what);

  ErrorCode code() const { return code_; }
  int errno_value() const { return errno_value_; }
  // Context frames and message joined with ": ", without the code.
  const std::string& message() const { return message_; }
  // "code: message", as users see it.
  std::string ToString() const;

  // Returns the error with `frame` put before the message.
  Error Context(std::string_view frame) &&;

 private:
  ErrorCode code_;
  std::string message_;
  int errno_value_ = 0;
};

}  // namespace cleanroom
