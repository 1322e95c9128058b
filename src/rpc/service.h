// How a service is written. For each service of a proto file protoc-gen-cleanroom makes a class with
// a pure virtual function for each procedure and a Register(Router&) (proto/protoc-gen-cleanroom):
//
//   class SystemService final : public v1::SystemService {
//     Awaitable<Result<v1::GetVersionResponse>> GetVersion(rpc::CallContext& call,
//                                                          v1::GetVersionRequest request) override;
//
// A procedure knows nothing of protocols. It runs as a task that is cancelled when the caller
// cancels, disconnects, or its deadline passes: pending awaits then return early, and Cancelled()
// tells. The references it is given live until its coroutine has ended.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/async.h"
#include "base/result.h"

namespace google::protobuf {
class MessageLite;
}

namespace cleanroom::rpc {

using Message = google::protobuf::MessageLite;
// Lower-case names, in order of arrival, repeated names allowed.
using Metadata = std::vector<std::pair<std::string, std::string>>;

// What a handler may know about its call.
struct CallContext {
  std::string procedure;  // "/package.Service/Method"
  std::string host;       // of HTTP/1.1's Host, "name:port"; empty in HTTP/2
  Metadata headers;       // of the request, without those of the protocol
  std::optional<std::chrono::steady_clock::time_point> deadline;
  Metadata response_headers;  // sent with the first response message, or the error
};

// The two directions of a call, untyped. Implemented by server.cc for each protocol.
class MessageSource {
 public:
  virtual ~MessageSource() = default;
  // Parses the next message into `out`. False: the peer has finished sending.
  // kInvalidArgument: not a message; kResourceExhausted: larger than the limit; kCanceled: the call
  // is over.
  virtual Awaitable<Result<bool>> Next(Message& out) = 0;
};
class MessageSink {
 public:
  virtual ~MessageSink() = default;
  // Returns when the transport has taken the message: a slow reader holds its own writer back,
  // nobody else.
  virtual Awaitable<Result<void>> Write(const Message& message) = 0;
};

template <typename T>
class Reader {
 public:
  explicit Reader(MessageSource& source) : source_(source) {}
  // The next message; nothing when the peer has finished sending.
  Awaitable<Result<std::optional<T>>> Next() {
    T message;
    auto more = co_await source_.Next(message);
    if (!more) co_return Err(std::move(more).error());
    if (!*more) co_return std::optional<T>();
    co_return std::optional<T>(std::move(message));
  }

 private:
  MessageSource& source_;
};

template <typename T>
class Writer {
 public:
  explicit Writer(MessageSink& sink) : sink_(sink) {}
  Awaitable<Result<void>> Write(const T& message) {
    auto written = co_await sink_.Write(message);
    co_return written;
  }

 private:
  MessageSink& sink_;
};

// The shape of a procedure, which decides how each protocol frames it.
enum class Shape { kUnary, kServerStream, kClientStream, kBidi };

using UntypedHandler =
    std::function<Awaitable<Result<void>>(CallContext&, MessageSource&, MessageSink&)>;

struct Procedure {
  Shape shape;
  UntypedHandler handler;
  size_t max_message_bytes = 0;  // of one request message; 0: as the server has it
};

// A text that is served to GET beside the procedures. An error is answered with its status.
struct Page {
  std::string type;
  std::function<Result<std::string>(const CallContext&)> render;
};

// Filled once, before serving; read-only from then on.
class Router {
 public:
  // A procedure that is a member function, which services register by themselves (above).
  template <typename Service, typename Req, typename Resp>
  void Unary(std::string_view path, Service* service,
             Awaitable<Result<Resp>> (Service::*procedure)(CallContext&, Req)) {
    Unary<Req, Resp>(std::string(path), [service, procedure](CallContext& call, Req request) {
      return (service->*procedure)(call, std::move(request));
    });
  }
  template <typename Service, typename Req, typename Resp>
  void ServerStream(std::string_view path, Service* service,
                    Awaitable<Result<void>> (Service::*procedure)(CallContext&, Req,
                                                                  Writer<Resp>&)) {
    ServerStream<Req, Resp>(
        std::string(path), [service, procedure](CallContext& call, Req request, Writer<Resp>& out) {
          return (service->*procedure)(call, std::move(request), out);
        });
  }
  template <typename Service, typename Req, typename Resp>
  void ClientStream(std::string_view path, Service* service,
                    Awaitable<Result<Resp>> (Service::*procedure)(CallContext&, Reader<Req>&)) {
    ClientStream<Req, Resp>(std::string(path),
                            [service, procedure](CallContext& call, Reader<Req>& in) {
                              return (service->*procedure)(call, in);
                            });
  }
  template <typename Service, typename Req, typename Resp>
  void Bidi(std::string_view path, Service* service,
            Awaitable<Result<void>> (Service::*procedure)(CallContext&, Reader<Req>&,
                                                          Writer<Resp>&)) {
    Bidi<Req, Resp>(std::string(path),
                    [service, procedure](CallContext& call, Reader<Req>& in, Writer<Resp>& out) {
                      return (service->*procedure)(call, in, out);
                    });
  }

  // A procedure without a proto file: a function with the parameters and the result of the member
  // functions above, such as a lambda that forwards to a coroutine. It must not be a coroutine
  // itself if it captures (see base/async.h).
  template <typename Req, typename Resp, typename Handler>
  void Unary(std::string path, Handler handler) {
    Add(std::move(path), Shape::kUnary,
        [handler = std::move(handler)](CallContext& call, MessageSource& in, MessageSink& out) {
          return RunUnary<Req, Resp>(handler, call, in, out);
        });
  }
  template <typename Req, typename Resp, typename Handler>
  void ServerStream(std::string path, Handler handler) {
    Add(std::move(path), Shape::kServerStream,
        [handler = std::move(handler)](CallContext& call, MessageSource& in, MessageSink& out) {
          return RunServerStream<Req, Resp>(handler, call, in, out);
        });
  }
  template <typename Req, typename Resp, typename Handler>
  void ClientStream(std::string path, Handler handler) {
    Add(std::move(path), Shape::kClientStream,
        [handler = std::move(handler)](CallContext& call, MessageSource& in, MessageSink& out) {
          return RunClientStream<Req, Resp>(handler, call, in, out);
        });
  }
  template <typename Req, typename Resp, typename Handler>
  void Bidi(std::string path, Handler handler) {
    Add(std::move(path), Shape::kBidi,
        [handler = std::move(handler)](CallContext& call, MessageSource& in, MessageSink& out) {
          return RunBidi<Req, Resp>(handler, call, in, out);
        });
  }

  // Asked before each procedure, when nothing but the head of the request has been read; an error
  // answers the call. Pages look for themselves.
  using Guard = std::function<Result<void>(const CallContext&)>;
  void SetGuard(Guard guard) { guard_ = std::move(guard); }
  Result<void> Admit(const CallContext& call) const {
    return guard_ ? guard_(call) : Result<void>();
  }

  // For a procedure that is there already: one whose requests may be larger than the server's others,
  // and take longer to arrive in proportion.
  void SetMaxMessage(std::string_view path, size_t bytes);

  void AddPage(std::string path, Page page) { pages_[std::move(path)] = std::move(page); }

  const Procedure* Find(std::string_view path) const;
  const Page* FindPage(std::string_view path) const;

 private:
  void Add(std::string path, Shape shape, UntypedHandler handler);

  template <typename Req, typename Resp, typename Handler>
  static Awaitable<Result<void>> RunUnary(const Handler& handler, CallContext& call,
                                          MessageSource& in, MessageSink& out) {
    Req request;
    auto more = co_await in.Next(request);
    if (!more) co_return Err(std::move(more).error());
    if (!*more) co_return Err(ErrorCode::kInvalidArgument, "the request carries no message");
    auto response = co_await handler(call, std::move(request));
    if (!response) co_return Err(std::move(response).error());
    auto written = co_await out.Write(*response);
    co_return written;
  }
  template <typename Req, typename Resp, typename Handler>
  static Awaitable<Result<void>> RunServerStream(const Handler& handler, CallContext& call,
                                                 MessageSource& in, MessageSink& out) {
    Req request;
    auto more = co_await in.Next(request);
    if (!more) co_return Err(std::move(more).error());
    if (!*more) co_return Err(ErrorCode::kInvalidArgument, "the request carries no message");
    Writer<Resp> writer(out);
    auto ended = co_await handler(call, std::move(request), writer);
    co_return ended;
  }
  template <typename Req, typename Resp, typename Handler>
  static Awaitable<Result<void>> RunClientStream(const Handler& handler, CallContext& call,
                                                 MessageSource& in, MessageSink& out) {
    Reader<Req> reader(in);
    auto response = co_await handler(call, reader);
    if (!response) co_return Err(std::move(response).error());
    auto written = co_await out.Write(*response);
    co_return written;
  }
  template <typename Req, typename Resp, typename Handler>
  static Awaitable<Result<void>> RunBidi(const Handler& handler, CallContext& call,
                                         MessageSource& in, MessageSink& out) {
    Reader<Req> reader(in);
    Writer<Resp> writer(out);
    auto ended = co_await handler(call, reader, writer);
    co_return ended;
  }

  std::map<std::string, Procedure, std::less<>> procedures_;
  std::map<std::string, Page, std::less<>> pages_;
  Guard guard_;
};

}  // namespace cleanroom::rpc
