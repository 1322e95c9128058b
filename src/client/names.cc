#include "client/names.h"

namespace cleanroom::client {

std::string_view ShortName(SandboxStatus status) {
  switch (status) {
    case v1::SANDBOX_STATUS_UNSPECIFIED:
      return "UNSPECIFIED";
    case v1::SANDBOX_STATUS_PROVISIONING:
      return "PROVISIONING";
    case v1::SANDBOX_STATUS_READY:
      return "READY";
    case v1::SANDBOX_STATUS_STOPPING:
      return "STOPPING";
    case v1::SANDBOX_STATUS_STOPPED:
      return "STOPPED";
    case v1::SANDBOX_STATUS_FAILED:
      return "FAILED";
    case v1::SANDBOX_STATUS_SETUP:
      return "SETUP";
    default:
      return "UNKNOWN";
  }
}

std::string_view ShortName(ExecutionStatus status) {
  switch (status) {
    case v1::EXECUTION_STATUS_UNSPECIFIED:
      return "UNSPECIFIED";
    case v1::EXECUTION_STATUS_QUEUED:
      return "QUEUED";
    case v1::EXECUTION_STATUS_RUNNING:
      return "RUNNING";
    case v1::EXECUTION_STATUS_SUCCEEDED:
      return "SUCCEEDED";
    case v1::EXECUTION_STATUS_FAILED:
      return "FAILED";
    case v1::EXECUTION_STATUS_CANCELED:
      return "CANCELED";
    case v1::EXECUTION_STATUS_TIMED_OUT:
      return "TIMED_OUT";
    default:
      return "UNKNOWN";
  }
}

std::string_view ShortName(ExecutionKind kind) {
  switch (kind) {
    case v1::EXECUTION_KIND_UNSPECIFIED:
      return "UNSPECIFIED";
    case v1::EXECUTION_KIND_BATCH:
      return "BATCH";
    case v1::EXECUTION_KIND_INTERACTIVE:
      return "INTERACTIVE";
    default:
      return "UNKNOWN";
  }
}

bool HasEnded(SandboxStatus status) {
  return status == v1::SANDBOX_STATUS_STOPPED || status == v1::SANDBOX_STATUS_FAILED;
}

bool HasEnded(ExecutionStatus status) {
  return status == v1::EXECUTION_STATUS_SUCCEEDED || status == v1::EXECUTION_STATUS_FAILED ||
         status == v1::EXECUTION_STATUS_CANCELED || status == v1::EXECUTION_STATUS_TIMED_OUT;
}

ErrorClass Classify(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kUnimplemented:
    case ErrorCode::kAlreadyExists:
      return ErrorClass::kRequest;
    case ErrorCode::kPolicyInvalid:
    case ErrorCode::kPolicyConflict:
    case ErrorCode::kHostNotAllowed:
    case ErrorCode::kRegistryNotAllowed:
    case ErrorCode::kLockfileViolation:
    case ErrorCode::kSecretScopeViolation:
      return ErrorClass::kPolicy;
    case ErrorCode::kFailedPrecondition:
    case ErrorCode::kNotFound:
      return ErrorClass::kState;
    case ErrorCode::kBackendUnavailable:
    case ErrorCode::kBackendCapabilityMismatch:
      return ErrorClass::kCapability;
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kUnauthenticated:
      return ErrorClass::kAccess;
    case ErrorCode::kResourceExhausted:
    case ErrorCode::kUpstreamError:
    case ErrorCode::kUnavailable:
    case ErrorCode::kRuntimeLaunchFailed:
      return ErrorClass::kRetryable;
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kCanceled:
      return ErrorClass::kCanceled;
    case ErrorCode::kDataCorrupt:
    case ErrorCode::kInternal:
      return ErrorClass::kInternal;
  }
  return ErrorClass::kInternal;
}

}  // namespace cleanroom::client
