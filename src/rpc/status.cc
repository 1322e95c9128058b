#include "rpc/status.h"

#include <array>
#include <string>

#include "base/utf8.h"

namespace cleanroom::rpc {
namespace {

struct CodeRow {
  std::string_view name;
  int http;
  ErrorCode error;
};

// By RpcCode. https://connectrpc.com/docs/protocol#error-codes
constexpr std::array<CodeRow, 17> kCodes = {{
    {"ok", 200, ErrorCode::kInternal},
    {"canceled", 499, ErrorCode::kCanceled},
    {"unknown", 500, ErrorCode::kInternal},
    {"invalid_argument", 400, ErrorCode::kInvalidArgument},
    {"deadline_exceeded", 504, ErrorCode::kDeadlineExceeded},
    {"not_found", 404, ErrorCode::kNotFound},
    {"already_exists", 409, ErrorCode::kAlreadyExists},
    {"permission_denied", 403, ErrorCode::kPermissionDenied},
    {"resource_exhausted", 429, ErrorCode::kResourceExhausted},
    {"failed_precondition", 400, ErrorCode::kFailedPrecondition},
    {"aborted", 409, ErrorCode::kFailedPrecondition},
    {"out_of_range", 400, ErrorCode::kInvalidArgument},
    {"unimplemented", 501, ErrorCode::kUnimplemented},
    {"internal", 500, ErrorCode::kInternal},
    {"unavailable", 503, ErrorCode::kUnavailable},
    {"data_loss", 500, ErrorCode::kDataCorrupt},
    {"unauthenticated", 401, ErrorCode::kUnauthenticated},
}};

const CodeRow& Row(RpcCode code) {
  const auto index = static_cast<size_t>(code);
  return kCodes[index < kCodes.size() ? index : static_cast<size_t>(RpcCode::kUnknown)];
}

}  // namespace

const std::string_view kDetailType = "cleanroom.v1.ErrorDetail";

RpcCode ToRpcCode(ErrorCode code) {
  switch (code) {
    case ErrorCode::kPolicyInvalid:
    case ErrorCode::kPolicyConflict:
    case ErrorCode::kInvalidArgument:
      return RpcCode::kInvalidArgument;
    case ErrorCode::kBackendUnavailable:
    case ErrorCode::kBackendCapabilityMismatch:
    case ErrorCode::kFailedPrecondition:
      return RpcCode::kFailedPrecondition;
    case ErrorCode::kHostNotAllowed:
    case ErrorCode::kRegistryNotAllowed:
    case ErrorCode::kLockfileViolation:
    case ErrorCode::kSecretScopeViolation:
    case ErrorCode::kPermissionDenied:
      return RpcCode::kPermissionDenied;
    case ErrorCode::kNotFound:
      return RpcCode::kNotFound;
    case ErrorCode::kAlreadyExists:
      return RpcCode::kAlreadyExists;
    case ErrorCode::kResourceExhausted:
      return RpcCode::kResourceExhausted;
    case ErrorCode::kUnauthenticated:
      return RpcCode::kUnauthenticated;
    case ErrorCode::kUpstreamError:
    case ErrorCode::kUnavailable:
      return RpcCode::kUnavailable;
    case ErrorCode::kDataCorrupt:
      return RpcCode::kDataLoss;
    case ErrorCode::kDeadlineExceeded:
      return RpcCode::kDeadlineExceeded;
    case ErrorCode::kCanceled:
      return RpcCode::kCanceled;
    case ErrorCode::kUnimplemented:
      return RpcCode::kUnimplemented;
    case ErrorCode::kRuntimeLaunchFailed:
    case ErrorCode::kInternal:
      return RpcCode::kInternal;
  }
  return RpcCode::kInternal;
}

ErrorCode FromRpcCode(RpcCode code) { return Row(code).error; }

std::string_view ConnectName(RpcCode code) { return Row(code).name; }

std::optional<RpcCode> FromConnectName(std::string_view name) {
  for (size_t i = 1; i < kCodes.size(); ++i) {
    if (kCodes[i].name == name) return static_cast<RpcCode>(i);
  }
  return std::nullopt;
}

int HttpStatus(RpcCode code) { return Row(code).http; }

// https://connectrpc.com/docs/protocol#http-to-error-code, which is gRPC's table too.
RpcCode FromHttpStatus(int status) {
  switch (status) {
    case 400:
      return RpcCode::kInternal;
    case 401:
      return RpcCode::kUnauthenticated;
    case 403:
      return RpcCode::kPermissionDenied;
    case 404:
      return RpcCode::kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return RpcCode::kUnavailable;
    default:
      return RpcCode::kUnknown;
  }
}

v1::ErrorDetail ToDetail(const Error& error) {
  v1::ErrorDetail detail;
  detail.set_code(std::string(ToString(error.code())));
  detail.set_message(ToValidUtf8(error.message()));
  detail.set_remedy(ToValidUtf8(error.remedy()));
  detail.set_subject_kind(std::string(ToString(error.subject().kind)));
  detail.set_subject(ToValidUtf8(error.subject().name));
  return detail;
}

Error FromDetail(const v1::ErrorDetail& detail) {
  return Error(ErrorCodeFromString(detail.code()), detail.message())
      .About(SubjectKindFromString(detail.subject_kind()), detail.subject())
      .Remedy(detail.remedy());
}

std::string EncodeDetail(const Error& error) { return ToDetail(error).SerializeAsString(); }

Error FromWire(RpcCode code, std::string_view message, const std::optional<std::string>& detail) {
  v1::ErrorDetail parsed;
  if (detail && parsed.ParseFromString(*detail) && !parsed.code().empty()) {
    return FromDetail(parsed);
  }
  const ErrorCode mapped = FromRpcCode(code);
  const std::string prefix = std::string(ToString(mapped)) + ": ";
  if (message.starts_with(prefix)) message.remove_prefix(prefix.size());
  if (message.empty()) message = ConnectName(code);
  return Error(mapped, std::string(message));
}

}  // namespace cleanroom::rpc
