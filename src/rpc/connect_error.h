// How the Connect protocol writes errors: JSON, as the body of a failed unary call or in the
// envelope that ends a stream. https://connectrpc.com/docs/protocol#error-end-stream
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "rpc/service.h"

namespace cleanroom::rpc {

// Longest JSON that is parsed.
inline constexpr size_t kMaxErrorJson = 64U << 10;

std::string ConnectErrorJson(const Error& error);
// What the body of a response with this HTTP status says; the status alone when it is not such
// JSON.
Error ParseConnectError(std::string_view json, int http_status);

std::string ConnectEndJson(const Result<void>& outcome);
// The outcome that an end-of-stream envelope tells. kInternal when it is malformed.
Result<void> ParseConnectEnd(std::string_view json);

}  // namespace cleanroom::rpc
