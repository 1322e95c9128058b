#include "rpc/client.h"

#include <fmt/format.h>

#include <utility>

#include "http/http2_connection.h"
#include "rpc/client_call.h"
#include "rpc/protocol.h"

namespace cleanroom::rpc {
namespace {

Framing FramingOf(Protocol protocol, Shape shape) {
  switch (protocol) {
    case Protocol::kGrpc:
      return Framing::kGrpc;
    case Protocol::kGrpcWeb:
      return Framing::kGrpcWeb;
    case Protocol::kConnect:
      break;
  }
  return shape == Shape::kUnary ? Framing::kConnectUnary : Framing::kConnectStream;
}

class Http2Channel final : public Channel {
 public:
  Http2Channel(std::unique_ptr<http::ByteStream> stream, ChannelOptions options)
      : options_(std::move(options)),
        tasks_(stream->executor()),
        connection_(std::move(stream), http::Http2Connection::Role::kClient, {}, {}) {
    tasks_.Spawn(connection_.ReadLoop({}));
    tasks_.Spawn(connection_.WriteLoop());
    if (options_.patience.count() > 0) tasks_.Spawn(WatchPeer());
  }

  Awaitable<void> Close() override {
    connection_.Fail(Error(ErrorCode::kUnavailable, "the channel is closed"));
    tasks_.Cancel();
    co_await tasks_.Join();
  }

  Awaitable<Result<void>> HangUp(std::chrono::steady_clock::time_point deadline) override {
    connection_.Goodbye();
    bool answered = true;
    TaskScope limit(connection_.executor());
    limit.Spawn(EndAt(deadline, answered));
    co_await tasks_.Join();
    limit.Cancel();
    co_await limit.Join();
    if (!answered) co_return Err(ErrorCode::kDeadlineExceeded, "the peer says no goodbye");
    co_return Result<void>();
  }

  bool alive() const override { return connection_.alive(); }

 protected:
  Awaitable<Result<void>> CallUnary(std::string path, const Message& request, Message& response,
                                    CallOptions options) override {
    CR_CO_TRY_ASSIGN(auto call, Begin(path, Shape::kUnary, options));
    auto written = co_await call->Write(request);
    (void)co_await call->CloseWrite();
    // A server may answer before it has read everything: its answer counts, not the failed write.
    if (!written && written.error().code() != ErrorCode::kUnavailable) co_return written;
    CR_CO_TRY_ASSIGN(const bool answered, co_await call->Next(response));
    if (!answered) co_return Err(ErrorCode::kInternal, "the server sent no response message");
    if (call->framing() != Framing::kConnectUnary) {
      CR_CO_TRY_ASSIGN(const bool more, co_await call->Finish());
      if (more)
        co_return Err(ErrorCode::kInternal, "the server sent more than one response message");
    }
    co_return Result<void>();
  }

  Awaitable<Result<std::unique_ptr<ClientCall>>> OpenUntyped(std::string path, Shape shape,
                                                             CallOptions options) override {
    CR_CO_TRY_ASSIGN(std::unique_ptr<ClientCall> call, Begin(path, shape, options));
    co_return call;
  }

 private:
  Awaitable<void> EndAt(std::chrono::steady_clock::time_point deadline, bool& answered) {
    auto slept = co_await SleepFor(deadline - std::chrono::steady_clock::now());
    if (!slept) co_return;
    answered = false;
    connection_.Fail(Error(ErrorCode::kDeadlineExceeded, "the peer says no goodbye"));
    tasks_.Cancel();
  }

  // Counts pauses without a byte rather than time, which also passes while this process is stopped.
  Awaitable<void> WatchPeer() {
    constexpr int kPings = 4;
    uint64_t heard = connection_.heard();
    int unanswered = 0;
    while (connection_.alive()) {
      auto slept = co_await SleepFor(options_.patience / kPings);
      if (!slept) co_return;
      if (connection_.heard() != heard || connection_.open_streams() == 0) {
        heard = connection_.heard();
        unanswered = 0;
        continue;
      }
      if (++unanswered >= kPings) {
        const std::chrono::duration<double> patience = options_.patience;
        connection_.Fail(
            Error(ErrorCode::kUnavailable,
                  fmt::format("the peer has not answered for {:g} s", patience.count())));
        co_return;
      }
      connection_.Ping();
    }
  }

  Result<std::unique_ptr<Http2Call>> Begin(const std::string& path, Shape shape,
                                           const CallOptions& options) {
    const Framing framing = FramingOf(options_.protocol, shape);
    http::Headers headers = {{":method", "POST"},
                             {":scheme", "http"},
                             {":path", path},
                             {":authority", options_.authority},
                             {"content-type", FormatContentType({framing, "proto"})}};
    if (options_.protocol == Protocol::kConnect)
      headers.emplace_back("connect-protocol-version", "1");
    if (options_.protocol == Protocol::kGrpc) headers.emplace_back("te", "trailers");
    if (options_.protocol == Protocol::kGrpcWeb) headers.emplace_back("x-grpc-web", "1");
    if (options.deadline)
      AddTimeout(framing, *options.deadline - std::chrono::steady_clock::now(), headers);
    headers.insert(headers.end(), options_.headers.begin(), options_.headers.end());
    CR_TRY_ASSIGN(auto stream, connection_.Open(headers));
    return std::make_unique<Http2Call>(std::move(stream), framing, options_.max_message_bytes,
                                       options.deadline, options_.advice);
  }

  const ChannelOptions options_;
  TaskScope tasks_;
  http::Http2Connection connection_;
};

}  // namespace

std::unique_ptr<Channel> Channel::Create(std::unique_ptr<http::ByteStream> stream,
                                         ChannelOptions options) {
  return std::make_unique<Http2Channel>(std::move(stream), std::move(options));
}

}  // namespace cleanroom::rpc
