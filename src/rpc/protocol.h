// What the three protocols say in headers: content types, time limits, and which headers are
// theirs.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"
#include "rpc/service.h"

namespace cleanroom::rpc {

// How messages stand in bodies.
enum class Framing {
  kConnectUnary,   // the body is the message
  kConnectStream,  // envelopes; the last one of a response is JSON
  kGrpc,           // envelopes; the outcome stands in HTTP trailers
  kGrpcWeb,        // envelopes; the last one of a response holds trailers
  kGrpcWebText,    // the same in base64
};

struct ContentType {
  Framing framing;
  std::string_view codec;  // "proto" or "json"; points to static text
};

// Nothing for types that are not of these protocols. Parameters (";charset=utf-8") are ignored.
std::optional<ContentType> ParseContentType(std::string_view value);
std::string FormatContentType(const ContentType& type);

// The time the caller allows, from Connect-Timeout-Ms or grpc-timeout. kInvalidArgument: malformed.
Result<std::optional<std::chrono::nanoseconds>> ParseTimeout(Framing framing,
                                                             const http::Headers& headers);
void AddTimeout(Framing framing, std::chrono::nanoseconds left, http::Headers& headers);

// Headers that tell how messages are packed, and which packings their sender takes.
struct PackingHeaders {
  std::string_view packed;
  std::string_view accepted;
};
PackingHeaders PackingHeadersOf(Framing framing);

// Whether the messages behind these headers may be packed: false for none or "identity", true for
// `supported` (empty: none is). kUnimplemented for any other, with what is supported.
Result<bool> ArePacked(Framing framing, const http::Headers& headers, std::string_view supported);
// Whether who sent these headers takes messages packed by `name`.
bool AcceptsPacking(Framing framing, const http::Headers& headers, std::string_view name);

// kInvalidArgument for another version of Connect.
Result<void> CheckVersion(const http::Headers& headers);

// The headers that are the caller's own.
Metadata WithoutProtocolHeaders(const http::Headers& headers);

}  // namespace cleanroom::rpc
