// Channel: calls over one HTTP/2 connection, by the Connect protocol unless asked otherwise.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/async.h"
#include "http/byte_stream.h"
#include "rpc/client_stream.h"
#include "rpc/codec.h"
#include "rpc/service.h"

namespace cleanroom::rpc {

enum class Protocol { kConnect, kGrpc, kGrpcWeb };

struct ChannelOptions {
  Protocol protocol = Protocol::kConnect;
  std::string authority = "localhost";
  Metadata headers;                      // sent with every call, e.g. authorization
  size_t max_message_bytes = 16U << 20;  // of one response message
  // A peer that gives no sign of life (an answer, or one to our PING) for so long while calls are
  // under way is given up: they end with kUnavailable. 0: never.
  std::chrono::milliseconds patience{0};
  Advice advice = Advice::kDrop;
};

struct CallOptions {
  std::optional<std::chrono::steady_clock::time_point> deadline;  // also told to the server
};

// Any number of concurrent calls. Belongs to one thread.
class Channel {
 public:
  // Takes the stream; the connection's reader and writer run as tasks of the channel until Close.
  static std::unique_ptr<Channel> Create(std::unique_ptr<http::ByteStream> stream,
                                         ChannelOptions options);
  virtual ~Channel() = default;

  template <typename Resp, typename Req>
  Awaitable<Result<Resp>> Call(std::string path, Req request, CallOptions options = {}) {
    Resp response;
    auto done = co_await CallUnary(std::move(path), request, response, options);
    if (!done) co_return Err(std::move(done).error());
    co_return response;
  }
  // A stream in either or both directions.
  template <typename Req, typename Resp>
  Awaitable<Result<ClientStream<Req, Resp>>> Open(std::string path, Shape shape,
                                                  CallOptions options = {}) {
    auto call = co_await OpenUntyped(std::move(path), shape, options);
    if (!call) co_return Err(std::move(call).error());
    co_return ClientStream<Req, Resp>(std::move(*call));
  }

  // Opens a server stream and sends its one request.
  template <typename Resp, typename Req>
  Awaitable<Result<ClientStream<Req, Resp>>> CallServerStream(std::string path, Req request,
                                                              CallOptions options = {}) {
    auto call = co_await OpenUntyped(std::move(path), Shape::kServerStream, options);
    if (!call) co_return Err(std::move(call).error());
    auto sent = co_await (*call)->Write(request);
    if (!sent) co_return Err(std::move(sent).error());
    auto closed = co_await (*call)->CloseWrite();
    if (!closed) co_return Err(std::move(closed).error());
    co_return ClientStream<Req, Resp>(std::move(*call));
  }

  // Ends every call with kUnavailable and waits for the channel's tasks. Must return before
  // destruction.
  virtual Awaitable<void> Close() = 0;
  // The same with a goodbye to the server and one from it, when no call is under way: nothing of
  // this connection is on the stream after it. deadline_exceeded: the server said none.
  virtual Awaitable<Result<void>> HangUp(std::chrono::steady_clock::time_point deadline) = 0;
  // False once the connection is broken or closed: further calls fail with kUnavailable.
  virtual bool alive() const = 0;

 protected:
  virtual Awaitable<Result<void>> CallUnary(std::string path, const Message& request,
                                            Message& response, CallOptions options) = 0;
  virtual Awaitable<Result<std::unique_ptr<ClientCall>>> OpenUntyped(std::string path, Shape shape,
                                                                     CallOptions options) = 0;
};

}  // namespace cleanroom::rpc
