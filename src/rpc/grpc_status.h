// How gRPC writes the outcome of a call: trailers, which gRPC-Web puts into the body.
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, PROTOCOL-WEB.md
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace cleanroom::rpc {

http::Headers GrpcTrailers(const Result<void>& outcome);
// The outcome that trailers (or the head of a response without body) tell; kInternal without
// grpc-status.
Result<void> ParseGrpcTrailers(const http::Headers& trailers);

// The payload of a trailers frame of gRPC-Web, "name: value" lines.
std::string WebTrailers(const http::Headers& trailers);
http::Headers ParseWebTrailers(std::string_view payload);

}  // namespace cleanroom::rpc
