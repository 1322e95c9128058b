// Serves the requests of one HTTP/2 connection.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/async.h"
#include "http/byte_stream.h"
#include "http/exchange.h"
#include "http/http2_connection.h"

namespace cleanroom::http {

struct ServerTimeouts {
  std::chrono::seconds head{10};  // from the first byte of a request's head to its last; 0: none
  // Without a request under way; 0: none. An answer of known length of which the peer takes nothing
  // for so long counts as none. A stream, which is an answer of unknown length, may take its time.
  std::chrono::seconds idle{0};
};

// Serves to the connection's end; `initial` was read from it before. Every handler has ended on
// return. Cancelling the task cancels them and closes the connection.
Awaitable<void> ServeHttp2(std::unique_ptr<ByteStream> stream, std::string initial,
                           Http2Options options, ServerTimeouts timeouts, ExchangeHandler handler);

}  // namespace cleanroom::http
