#include "rpc/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "http/http1_server.h"
#include "http/http2_server.h"
#include "rpc/connect_error.h"
#include "rpc/grpc_status.h"
#include "rpc/protocol.h"
#include "rpc/server_call.h"
#include "rpc/status.h"

namespace cleanroom::rpc {
namespace {

using std::chrono::steady_clock;

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Connection {
  const Router& router;
  const ServerOptions& options;
  const Codec* json;
  const Compression* compression;
};

Awaitable<void> SendText(http::ServerExchange& exchange, int status, std::string type,
                         std::string body, http::Headers headers) {
  headers.emplace_back("content-type", std::move(type));
  headers.emplace_back("content-length", fmt::format("{}", body.size()));
  exchange.SendHead(status, headers, http::Ending::kMore);
  (void)co_await exchange.SendBody(std::move(body));
  exchange.Finish({});
}

// Not coroutines: GCC 12 cannot compile initializer lists in those.
Awaitable<void> AnswerHealth(http::ServerExchange& exchange) {
  const std::string& method = exchange.request().method;
  if (method == "GET" || method == "HEAD") return SendText(exchange, 200, "text/plain", "ok", {});
  return SendText(exchange, 405, "text/plain", "", {{"allow", "GET, HEAD"}});
}

CallContext MakeContext(const http::RequestHead& request);

Awaitable<void> RefuseJson(http::ServerExchange& exchange, int status, const Error& error,
                           http::Headers headers) {
  return SendText(exchange, status, "application/json", ConnectErrorJson(error),
                  std::move(headers));
}

Awaitable<void> RefusePath(http::ServerExchange& exchange) {
  const Error error(ErrorCode::kUnimplemented,
                    fmt::format("no such procedure: {}", exchange.request().path));
  return RefuseJson(exchange, 404, error, {});
}

Awaitable<void> RefuseMethod(http::ServerExchange& exchange) {
  const Error error(ErrorCode::kInvalidArgument, "procedures are called with POST");
  return RefuseJson(exchange, 405, error, {{"allow", "POST"}});
}

Awaitable<void> RefuseType(http::ServerExchange& exchange, bool streams) {
  const Error error(ErrorCode::kInvalidArgument, "this procedure does not take that content type");
  const char* accepted = streams
                             ? "application/connect+proto, application/grpc, application/grpc-web"
                             : "application/proto, application/grpc, application/grpc-web";
  return RefuseJson(exchange, 415, error, {{"accept-post", accepted}});
}

Awaitable<void> AnswerPage(http::ServerExchange& exchange, const Page& page) {
  const http::RequestHead& request = exchange.request();
  if (request.method != "GET" && request.method != "HEAD")
    return SendText(exchange, 405, "text/plain", "", {{"allow", "GET, HEAD"}});
  auto text = page.render(MakeContext(request));
  if (text) return SendText(exchange, 200, page.type, std::move(*text), {});
  int status = 500;
  if (text.error().code() == ErrorCode::kUnauthenticated) status = 401;
  if (text.error().code() == ErrorCode::kPermissionDenied) status = 403;
  return RefuseJson(exchange, status, text.error(), {});
}

CallContext MakeContext(const http::RequestHead& request) {
  CallContext context;
  context.procedure = request.path;
  context.host = http::FindHeader(request.headers, "host");
  context.headers = WithoutProtocolHeaders(request.headers);
  return context;
}

Awaitable<Result<void>> Invoke(const Procedure* procedure, CallContext& context, ServerCall& call) {
  auto done = co_await procedure->handler(context, call, call);
  co_return done;
}

Awaitable<Result<void>> InvokeInTime(const Procedure* procedure, CallContext& context,
                                     ServerCall& call) {
  if (!context.deadline) {
    auto done = co_await Invoke(procedure, context, call);
    co_return done;
  }
  auto done = co_await WithDeadline(Invoke(procedure, context, call), *context.deadline,
                                    "the caller's deadline has passed");
  co_return done;
}

// Only headers: what can be refused before the call begins. Sets the deadline.
Result<void> Prepare(const Connection& connection, const http::RequestHead& request,
                     const ContentType& type, CallContext& context, ServerCall& call) {
  CR_TRY(CheckVersion(request.headers));
  CR_TRY(call.Negotiate(connection.compression, connection.options.compress_from));
  CR_TRY_ASSIGN(const auto timeout, ParseTimeout(type.framing, request.headers));
  if (timeout) {
    auto allowed = *timeout;
    const std::chrono::nanoseconds limit = connection.options.max_deadline;
    if (limit.count() > 0) allowed = std::min(allowed, limit);
    context.deadline = steady_clock::now() + allowed;
  }
  return {};
}

Awaitable<void> Answer(Connection connection, http::ServerExchange& exchange) {
  const http::RequestHead& request = exchange.request();
  if (request.path == "/healthz") {
    co_await AnswerHealth(exchange);
    co_return;
  }
  if (const Page* page = connection.router.FindPage(request.path)) {
    co_await AnswerPage(exchange, *page);
    co_return;
  }
  const auto type = ParseContentType(http::FindHeader(request.headers, "content-type"));
  const Procedure* procedure = connection.router.Find(request.path);
  const bool connect =
      !type || type->framing == Framing::kConnectUnary || type->framing == Framing::kConnectStream;
  if (procedure == nullptr && connect) {
    co_await RefusePath(exchange);
    co_return;
  }
  if (request.method != "POST") {
    co_await RefuseMethod(exchange);
    co_return;
  }
  const Codec* codec = nullptr;
  if (type) codec = type->codec == "json" ? connection.json : &BinaryCodec();
  const bool unary_framing = type && type->framing == Framing::kConnectUnary;
  const bool streams = procedure != nullptr && procedure->shape != Shape::kUnary;
  const bool fits = !connect || unary_framing != streams;
  if (codec == nullptr || !fits ||
      (type->framing == Framing::kGrpc && !exchange.carries_trailers())) {
    co_await RefuseType(exchange, streams);
    co_return;
  }

  CallContext context = MakeContext(request);
  const size_t usual = connection.options.max_message_bytes;
  const size_t limit = procedure != nullptr && procedure->max_message_bytes > 0
                           ? procedure->max_message_bytes
                           : usual;
  ServerCall call(exchange, *type, *codec, limit, context.response_headers);
  const bool one_message = procedure != nullptr && (procedure->shape == Shape::kUnary ||
                                                    procedure->shape == Shape::kServerStream);
  if (one_message && connection.options.message_timeout.count() > 0)
    call.ExpectWithin(connection.options.message_timeout * std::max<size_t>(1, limit / usual));
  Result<void> outcome = Prepare(connection, request, *type, context, call);
  if (outcome && procedure == nullptr) {
    outcome = Err(ErrorCode::kUnimplemented, fmt::format("no such procedure: {}", request.path));
  }
  if (outcome) outcome = connection.router.Admit(context);
  if (outcome) outcome = co_await InvokeInTime(procedure, context, call);
  co_await call.Finish(std::move(outcome));
}

// Reads until the first bytes tell the version of HTTP.
Awaitable<Result<std::string>> ReadFirst(http::ByteStream& stream) {
  std::string first;
  std::array<std::byte, 4096> buffer{};
  while (first.size() < kPreface.size() && kPreface.starts_with(first)) {
    CR_CO_TRY_ASSIGN(const size_t size, co_await stream.Read(buffer));
    if (size == 0) co_return Err(ErrorCode::kUnavailable, "the peer closed the connection");
    first.append(reinterpret_cast<const char*>(buffer.data()), size);
  }
  co_return first;
}

Awaitable<Result<std::string>> ReadFirstInTime(http::ByteStream& stream,
                                               const ServerOptions& options) {
  const auto limit = options.idle_timeout.count() > 0 ? options.idle_timeout : options.head_timeout;
  if (limit.count() == 0) {
    auto first = co_await ReadFirst(stream);
    co_return first;
  }
  auto first =
      co_await WithDeadline(ReadFirst(stream), steady_clock::now() + limit, "the first bytes");
  co_return first;
}

http::ExchangeHandler MakeHandler(Connection connection) {
  return [connection](http::ServerExchange& exchange) { return Answer(connection, exchange); };
}

http::Http2Options Http2OptionsOf(const ServerOptions& options) {
  http::Http2Options out;
  out.max_streams = options.max_streams;
  out.stream_window = options.stream_window;
  out.max_header_bytes = options.max_header_bytes;
  return out;
}

http::Http1Options Http1OptionsOf(const ServerOptions& options) {
  http::Http1Options out;
  out.max_header_bytes = options.max_header_bytes;
  return out;
}

http::ServerTimeouts TimeoutsOf(const ServerOptions& options) {
  return {.head = options.head_timeout, .idle = options.idle_timeout};
}

}  // namespace

Server::Server(const Router& router, ServerOptions options, const Codec* json,
               const Compression* compression)
    : router_(router), options_(options), json_(json), compression_(compression) {}

Awaitable<void> Server::Serve(std::unique_ptr<http::ByteStream> stream) const {
  auto first = co_await ReadFirstInTime(*stream, options_);
  if (!first) {
    stream->Close();
    co_return;
  }
  const http::ExchangeHandler handler = MakeHandler({router_, options_, json_, compression_});
  if (first->starts_with(kPreface)) {
    co_await http::ServeHttp2(std::move(stream), std::move(*first), Http2OptionsOf(options_),
                              TimeoutsOf(options_), handler);
  } else {
    co_await http::ServeHttp1(std::move(stream), std::move(*first), Http1OptionsOf(options_),
                              TimeoutsOf(options_), handler);
  }
}

}  // namespace cleanroom::rpc
