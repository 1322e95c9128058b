#include "base/error.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <utility>

namespace cleanroom {
namespace {

constexpr std::array<std::pair<ErrorCode, std::string_view>, 23> kNames = {{
    {ErrorCode::kPolicyInvalid, "policy_invalid"},
    {ErrorCode::kPolicyConflict, "policy_conflict"},
    {ErrorCode::kBackendUnavailable, "backend_unavailable"},
    {ErrorCode::kBackendCapabilityMismatch, "backend_capability_mismatch"},
    {ErrorCode::kFailedPrecondition, "failed_precondition"},
    {ErrorCode::kHostNotAllowed, "host_not_allowed"},
    {ErrorCode::kRegistryNotAllowed, "registry_not_allowed"},
    {ErrorCode::kLockfileViolation, "lockfile_violation"},
    {ErrorCode::kSecretScopeViolation, "secret_scope_violation"},
    {ErrorCode::kRuntimeLaunchFailed, "runtime_launch_failed"},
    {ErrorCode::kNotFound, "not_found"},
    {ErrorCode::kAlreadyExists, "already_exists"},
    {ErrorCode::kInvalidArgument, "invalid_argument"},
    {ErrorCode::kResourceExhausted, "resource_exhausted"},
    {ErrorCode::kPermissionDenied, "permission_denied"},
    {ErrorCode::kUnauthenticated, "unauthenticated"},
    {ErrorCode::kUpstreamError, "upstream_error"},
    {ErrorCode::kDataCorrupt, "data_corrupt"},
    {ErrorCode::kUnavailable, "unavailable"},
    {ErrorCode::kDeadlineExceeded, "deadline_exceeded"},
    {ErrorCode::kCanceled, "canceled"},
    {ErrorCode::kUnimplemented, "unimplemented"},
    {ErrorCode::kInternal, "internal"},
}};

}  // namespace

std::string_view ToString(ErrorCode code) {
  for (const auto& [candidate, name] : kNames) {
    if (candidate == code) return name;
  }
  return "internal";
}

ErrorCode ErrorCodeFromString(std::string_view name) {
  for (const auto& [code, candidate] : kNames) {
    if (candidate == name) return code;
  }
  return ErrorCode::kInternal;
}

Error Error::FromErrno(ErrorCode code, int errno_value, std::string_view what) {
  std::array<char, 256> buffer{};
  const char* text = strerror_r(errno_value, buffer.data(), buffer.size());
  Error error(code, fmt::format("{}: {}", what, text));
  error.errno_value_ = errno_value;
  return error;
}

std::string Error::ToString() const {
  return fmt::format("{}: {}", cleanroom::ToString(code_), message_);
}

Error Error::Context(std::string_view frame) && {
  message_ = fmt::format("{}: {}", frame, message_);
  return std::move(*this);
}

}  // namespace cleanroom
