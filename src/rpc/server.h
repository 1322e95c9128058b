// Serves a Router over byte streams: Connect, gRPC and gRPC-Web, over HTTP/2 (prior knowledge) and
// HTTP/1.1 on one port, told apart by the first bytes and the content type.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "base/async.h"
#include "http/byte_stream.h"
#include "rpc/codec.h"
#include "rpc/compression.h"
#include "rpc/service.h"

namespace cleanroom::rpc {

struct ServerOptions {
  size_t max_message_bytes = 4U << 20;  // one request message, before and after unpacking
  size_t max_streams = 128;             // concurrent calls on one connection
  size_t max_header_bytes = 64U << 10;
  size_t stream_window = 512U << 10;     // HTTP/2: bytes of one call's requests that may wait here
  std::chrono::seconds idle_timeout{0};  // see http::ServerTimeouts; 0: none
  std::chrono::seconds head_timeout{
      10};  // from the first byte of a request's head to its last; 0: none
  // For a request's one message to arrive, where the caller sends one only: who sends it by drops
  // would hold a connection for nothing. Longer where the procedure's messages may be larger
  // (Router::SetMaxMessage). 0: none.
  std::chrono::seconds message_timeout{60};
  std::chrono::seconds max_deadline{0};  // longest deadline a caller may ask for; 0: any
  // Answers of this many bytes and more are compressed for callers that take it; 0: never, where
  // the bytes stay on the machine.
  size_t compress_from = 0;
};

// Belongs to one thread. The router must outlive it.
class Server {
 public:
  // `json`: may be null (the guest agent speaks only binary); and so may `compression`, which is
  // what requests may be, and answers are, compressed with.
  Server(const Router& router, ServerOptions options, const Codec* json,
         const Compression* compression = nullptr);

  // Serves one connection to its end. Cancelling the task ends its calls and closes it.
  Awaitable<void> Serve(std::unique_ptr<http::ByteStream> stream) const;

 private:
  const Router& router_;
  ServerOptions options_;
  const Codec* json_;
  const Compression* compression_;
};

}  // namespace cleanroom::rpc
