// Serves the requests of one HTTP/1.x connection, one after the other. Responses of unknown length
// are chunked; trailers are not sent.
#pragma once

#include <memory>
#include <string>

#include "base/async.h"
#include "http/byte_stream.h"
#include "http/exchange.h"
#include "http/http2_server.h"

namespace cleanroom::http {

struct Http1Options {
  size_t max_header_bytes = 64U << 10;
  // Bytes of a body, or of further requests, that are held before they are asked for.
  size_t read_ahead = 256U << 10;
};

// As ServeHttp2. A peer that closes its side while its request is being answered has given up.
Awaitable<void> ServeHttp1(std::unique_ptr<ByteStream> stream, std::string initial,
                           Http1Options options, ServerTimeouts timeouts, ExchangeHandler handler);

}  // namespace cleanroom::http
