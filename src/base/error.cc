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

constexpr std::array<std::pair<SubjectKind, std::string_view>, 11> kSubjects = {{
    {SubjectKind::kDaemon, "daemon"},
    {SubjectKind::kCertificate, "certificate"},
    {SubjectKind::kSandbox, "sandbox"},
    {SubjectKind::kExecution, "execution"},
    {SubjectKind::kImage, "image"},
    {SubjectKind::kRegistry, "registry"},
    {SubjectKind::kArchive, "archive"},
    {SubjectKind::kPolicy, "policy"},
    {SubjectKind::kConfig, "config"},
    {SubjectKind::kFile, "file"},
    {SubjectKind::kRepository, "repository"},
}};

}  // namespace

std::string_view ToString(ErrorCode code) {
  for (const auto& [candidate, name] : kNames) {
    if (candidate == code) return name;
  }
  return "internal";
}

std::optional<ErrorCode> ParseErrorCode(std::string_view name) {
  for (const auto& [code, candidate] : kNames) {
    if (candidate == name) return code;
  }
  return std::nullopt;
}

ErrorCode ErrorCodeFromString(std::string_view name) {
  return ParseErrorCode(name).value_or(ErrorCode::kInternal);
}

bool IsRetryable(ErrorCode code) {
  return code == ErrorCode::kUnavailable || code == ErrorCode::kDeadlineExceeded;
}

bool IsMachineTrouble(ErrorCode code) {
  switch (code) {
    case ErrorCode::kRuntimeLaunchFailed:
    case ErrorCode::kDataCorrupt:
    case ErrorCode::kInternal:
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kNotFound:
    case ErrorCode::kFailedPrecondition:
      return true;
    default:
      return IsRetryable(code);
  }
}

bool TellsWhatToDo(ErrorCode code) {
  switch (code) {
    case ErrorCode::kBackendUnavailable:
    case ErrorCode::kBackendCapabilityMismatch:
    case ErrorCode::kResourceExhausted:
    case ErrorCode::kNotFound:
    case ErrorCode::kUpstreamError:
    case ErrorCode::kDataCorrupt:
    case ErrorCode::kUnauthenticated:
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kHostNotAllowed:
    case ErrorCode::kRuntimeLaunchFailed:
      return true;
    default:
      return false;
  }
}

std::string_view ToString(SubjectKind kind) {
  for (const auto& [candidate, name] : kSubjects) {
    if (candidate == kind) return name;
  }
  return "";
}

SubjectKind SubjectKindFromString(std::string_view name) {
  for (const auto& [kind, candidate] : kSubjects) {
    if (candidate == name) return kind;
  }
  return SubjectKind::kNone;
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

Error Error::As(ErrorCode code) && {
  code_ = code;
  errno_value_ = 0;
  return std::move(*this);
}

Error Error::About(SubjectKind kind, std::string name) && {
  if (subject_.kind == SubjectKind::kNone) subject_ = {kind, std::move(name)};
  return std::move(*this);
}

Error Error::Remedy(std::string remedy) && {
  if (remedy_.empty()) remedy_ = std::move(remedy);
  return std::move(*this);
}

}  // namespace cleanroom
