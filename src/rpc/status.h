// The one place where errors of ours become codes of the RPC protocols, and back.
//
//   policy_invalid, policy_conflict, invalid_argument          invalid_argument     400
//   backend_unavailable, backend_capability_mismatch,
//   failed_precondition                                        failed_precondition  400
//   host_not_allowed, registry_not_allowed, lockfile_violation,
//   secret_scope_violation, permission_denied                  permission_denied    403
//   upstream_error, unavailable                                unavailable          503
//   runtime_launch_failed, internal                            internal             500
//   data_corrupt                                               data_loss            500
//   the rest                                                   their namesakes
//
// backend_unavailable is no `unavailable`: that invites clients to try again, which does not help
// there. The exact code travels in a cleanroom.v1.ErrorDetail and in front of the message ("code:
// text").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "cleanroom/v1/error.pb.h"

namespace cleanroom::rpc {

// The numbers of gRPC's statuscodes; Connect uses the same codes by name.
enum class RpcCode : uint8_t {
  kOk = 0,
  kCanceled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

RpcCode ToRpcCode(ErrorCode code);
// For errors without a detail of ours.
ErrorCode FromRpcCode(RpcCode code);

// Connect's spelling, e.g. "invalid_argument".
std::string_view ConnectName(RpcCode code);
std::optional<RpcCode> FromConnectName(std::string_view name);
// The HTTP status of a failed unary Connect call.
int HttpStatus(RpcCode code);
// What a response without an RPC status means, by its HTTP status.
RpcCode FromHttpStatus(int status);

// An error as a message, and the error that such a message stands for. What is no UTF-8
// is made so.
v1::ErrorDetail ToDetail(const Error& error);
Error FromDetail(const v1::ErrorDetail& detail);
// An error's ErrorDetail in binary form, and its type name ("cleanroom.v1.ErrorDetail").
std::string EncodeDetail(const Error& error);
extern const std::string_view kDetailType;

// The error that a status from the wire stands for. `detail`: an encoded ErrorDetail, if there was
// one.
Error FromWire(RpcCode code, std::string_view message, const std::optional<std::string>& detail);

}  // namespace cleanroom::rpc
