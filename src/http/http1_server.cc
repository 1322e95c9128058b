#include "http/http1_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "http/http1_parser.h"

namespace cleanroom::http {
namespace {

using std::chrono::steady_clock;

constexpr size_t kReadBytes = 64U << 10;
// Where a peer has to take an answer in time: how much of it in each such time.
constexpr size_t kPiece = 64U << 10;
// What is read of a body that the handler did not want: closing at once would reset the connection
// and lose the response on its way. Nothing of it is kept.
constexpr size_t kDrainBytes = 64U << 20;
constexpr auto kDrainTime = std::chrono::seconds(2);

std::string_view Reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 415:
      return "Unsupported Media Type";
    case 431:
      return "Request Header Fields Too Large";
    default:
      return "Status";
  }
}

// The connection's bytes: a task that reads ahead, and the writing side.
class Wire {
 public:
  Wire(std::unique_ptr<ByteStream> stream, std::string initial, size_t read_ahead)
      : stream_(std::move(stream)),
        read_ahead_(read_ahead),
        input_(std::move(initial)),
        changed_(stream_->executor()) {}

  // Reads until the peer ends or fails, then calls `gone`.
  Awaitable<void> ReadLoop(std::function<void()> gone) {
    std::vector<std::byte> buffer(kReadBytes);
    while (!ended_) {
      const bool cancelled = co_await Cancelled();
      if (cancelled) break;
      if (input_.size() >= read_ahead_) {
        co_await changed_.Wait();
        continue;
      }
      auto size = co_await stream_->Read(buffer);
      if (size && *size > 0) {
        input_.append(reinterpret_cast<const char*>(buffer.data()), *size);
      } else {
        ended_ = true;
        gone();
      }
      changed_.NotifyAll();
    }
  }

  // Waits for more input than `have` bytes. kUnavailable: there is no more.
  Awaitable<Result<void>> WaitMore(size_t have,
                                   steady_clock::time_point deadline = ServerExchange::kNever) {
    while (input_.size() <= have) {
      if (ended_) co_return Err(ErrorCode::kUnavailable, "the peer closed the connection");
      const bool cancelled = co_await Cancelled();
      if (cancelled) co_return Err(ErrorCode::kCanceled, "the call was cancelled");
      const bool in_time = co_await changed_.WaitUntil(deadline);
      if (!in_time && input_.size() <= have)
        co_return Err(ErrorCode::kDeadlineExceeded, "the body did not arrive in time");
    }
    co_return Result<void>();
  }

  const std::string& input() const { return input_; }
  void Take(size_t size) {
    input_.erase(0, size);
    if (size > 0) changed_.NotifyAll();
  }
  void Queue(std::string_view data) { output_.append(data); }

  // `stall`: for the peer to take each piece of it; 0: any time.
  Awaitable<Result<void>> Flush(std::chrono::seconds stall) {
    if (broken_) co_return Err(ErrorCode::kUnavailable, "the connection is broken");
    const std::string data = std::exchange(output_, {});
    auto rest = std::as_bytes(std::span(data));
    while (!rest.empty()) {
      const auto piece = stall.count() == 0 ? rest : rest.first(std::min(kPiece, rest.size()));
      auto written = co_await WriteInTime(piece, stall);
      if (!written) {
        Break();
        co_return written;
      }
      rest = rest.subspan(piece.size());
    }
    co_return Result<void>();
  }

  // Some of a response may be missing: nothing more can be said on this connection.
  void Break() {
    broken_ = true;
    stream_->Close();
  }
  bool usable() const { return !broken_ && !ended_; }
  bool broken() const { return broken_; }

 private:
  Awaitable<Result<void>> WriteInTime(std::span<const std::byte> data, std::chrono::seconds stall) {
    if (stall.count() == 0) {
      auto written = co_await stream_->Write(data);
      co_return written;
    }
    auto written = co_await WithDeadline(stream_->Write(data), steady_clock::now() + stall,
                                         "the peer did not take the answer in time");
    co_return written;
  }

  std::unique_ptr<ByteStream> stream_;
  const size_t read_ahead_;
  std::string input_;
  std::string output_;
  bool ended_ = false;
  bool broken_ = false;
  Notifier changed_;
};

class Http1Exchange final : public ServerExchange {
 public:
  // `stall`: see ServerTimeouts::idle.
  Http1Exchange(Wire& wire, Http1Parser& parser, size_t max_body, std::chrono::seconds stall)
      : wire_(wire), parser_(parser), max_body_(max_body), stall_(stall), request_(parser.Head()) {
    expects_continue_ = parser.expects_continue();
    close_ = !parser.keep_alive();
  }

  const RequestHead& request() const override { return request_; }
  bool carries_trailers() const override { return false; }

  Awaitable<Result<bool>> ReadBody(std::string& out, size_t, TimePoint deadline) override {
    const size_t before = out.size();
    if (std::exchange(expects_continue_, false) && !head_sent_ && !parser_.done()) {
      wire_.Queue("HTTP/1.1 100 Continue\r\n\r\n");
      CR_CO_TRY(co_await wire_.Flush(stall_));
    }
    while (true) {
      if (parser_.done()) co_return out.size() > before;
      CR_CO_TRY_ASSIGN(const size_t taken, parser_.Put(wire_.input(), out, max_body_));
      wire_.Take(taken);
      if (out.size() > before) co_return true;
      if (taken == 0 && !parser_.done())
        CR_CO_TRY(co_await wire_.WaitMore(wire_.input().size(), deadline));
    }
  }

  void SendHead(int status, const Headers& headers, Ending ending) override {
    head_sent_ = true;
    const bool known_length = !FindHeader(headers, "content-length").empty();
    if (status >= 400 && !parser_.done()) close_ = true;
    chunked_ = ending == Ending::kMore && !known_length && parser_.http_1_1();
    if (ending == Ending::kMore && !known_length && !chunked_) close_ = true;
    std::string head = fmt::format("HTTP/1.1 {} {}\r\n", status, Reason(status));
    for (const auto& [name, value] : headers) head += fmt::format("{}: {}\r\n", name, value);
    if (ending == Ending::kEnd) head += "content-length: 0\r\n";
    if (chunked_) head += "transfer-encoding: chunked\r\n";
    if (close_) head += "connection: close\r\n";
    wire_.Queue(head);
    wire_.Queue("\r\n");
    if (ending == Ending::kEnd) finished_ = true;
    if (ending == Ending::kMore && !known_length) stall_ = std::chrono::seconds(0);
  }

  Awaitable<Result<void>> SendBody(std::string data) override {
    if (request_.method != "HEAD" && !data.empty()) {
      if (chunked_) wire_.Queue(fmt::format("{:x}\r\n", data.size()));
      wire_.Queue(data);
      if (chunked_) wire_.Queue("\r\n");
    }
    auto flushed = co_await Flush();
    co_return flushed;
  }
  // Sends what is queued. An answer of known length has to be taken in time.
  Awaitable<Result<void>> Flush() { return wire_.Flush(stall_); }

  void Finish(const Headers&) override {
    if (std::exchange(finished_, true)) return;
    if (chunked_ && request_.method != "HEAD") wire_.Queue("0\r\n\r\n");
  }

  void Abort() override {
    wire_.Break();
    finished_ = true;
  }

  bool finished() const { return finished_; }
  bool close() const { return close_; }
  // The caller sends its body only after a "100 Continue" that it did not get.
  bool awaits_continue() const { return expects_continue_; }

 private:
  Wire& wire_;
  Http1Parser& parser_;
  const size_t max_body_;
  std::chrono::seconds stall_;
  const RequestHead request_;
  bool expects_continue_ = false;
  bool head_sent_ = false;
  bool chunked_ = false;
  bool finished_ = false;
  bool close_ = false;
};

// Frame of ServeHttp1: lives until all its tasks have ended.
class Http1Server {
 public:
  Http1Server(std::unique_ptr<ByteStream> stream, std::string initial, Http1Options options,
              ServerTimeouts timeouts, ExchangeHandler handler)
      : options_(options),
        timeouts_(timeouts),
        handler_(std::move(handler)),
        reader_(stream->executor()),
        call_(stream->executor()),
        wire_(std::move(stream), std::move(initial), options.read_ahead) {}

  Awaitable<void> Run() {
    reader_.Spawn(wire_.ReadLoop([this] { call_.Cancel(); }));
    bool more = true;
    while (more) more = co_await ServeOne();
    wire_.Break();
    reader_.Cancel();
    co_await reader_.Join();
  }

 private:
  // Whether another request may follow.
  Awaitable<bool> ServeOne() {
    Http1Parser parser(options_.max_header_bytes);
    auto head = co_await ReadHeadInTime(parser);
    if (!head) {
      co_await Refuse(head.error());
      co_return false;
    }
    if (!wire_.usable()) co_return false;  // the peer has left already
    Http1Exchange exchange(wire_, parser, options_.read_ahead, timeouts_.idle);
    answered_ = false;
    call_.Spawn(Answer(&exchange));
    bool stopped = co_await Cancelled();
    while (!answered_ && !stopped) {
      co_await call_done_.Wait();
      stopped = co_await Cancelled();
    }
    if (stopped) call_.Cancel();
    co_await call_.Join();
    if (!exchange.finished()) wire_.Break();
    auto flushed = co_await exchange.Flush();
    if (!flushed || stopped) co_return false;
    if (!parser.done() && !exchange.awaits_continue()) co_await DrainInTime(exchange);
    co_return parser.done() && !exchange.close() && wire_.usable();
  }

  Awaitable<void> Answer(Http1Exchange* exchange) {
    co_await handler_(*exchange);
    if (!exchange->finished()) exchange->Abort();
    answered_ = true;
    call_done_.NotifyAll();
  }

  Awaitable<Result<void>> ReadHead(Http1Parser& parser) {
    std::string no_body;
    while (!parser.head_done()) {
      CR_CO_TRY_ASSIGN(const size_t taken, parser.Put(wire_.input(), no_body, 0));
      wire_.Take(taken);
      if (!parser.head_done())
        CR_CO_TRY(co_await wire_.WaitMore(taken == 0 ? wire_.input().size() : 0));
    }
    co_return Result<void>();
  }

  Awaitable<Result<void>> ReadHeadInTime(Http1Parser& parser) {
    if (wire_.input().empty()) CR_CO_TRY(co_await WaitForRequest());
    if (timeouts_.head.count() == 0) {
      auto head = co_await ReadHead(parser);
      co_return head;
    }
    auto head = co_await WithDeadline(ReadHead(parser), steady_clock::now() + timeouts_.head,
                                      "a request's head");
    co_return head;
  }

  Awaitable<Result<void>> WaitForRequest() {
    if (timeouts_.idle.count() == 0) {
      auto some = co_await wire_.WaitMore(0);
      co_return some;
    }
    auto some =
        co_await WithDeadline(wire_.WaitMore(0), steady_clock::now() + timeouts_.idle, "a request");
    co_return some;
  }

  Awaitable<void> Refuse(const Error& error) {
    int status = 0;
    if (error.code() == ErrorCode::kInvalidArgument) status = 400;
    if (error.code() == ErrorCode::kResourceExhausted) status = 431;
    if (error.code() == ErrorCode::kDeadlineExceeded && !wire_.input().empty()) status = 408;
    if (status != 0) {
      wire_.Queue(fmt::format("HTTP/1.1 {} {}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                              status, Reason(status)));
    }
    (void)co_await wire_.Flush(timeouts_.idle);
  }

  Awaitable<Result<void>> Drain(Http1Exchange& exchange) {
    size_t drained = 0;
    std::string scrap;
    bool more = true;
    while (more && drained < kDrainBytes) {
      scrap.clear();
      CR_CO_TRY_ASSIGN(more, co_await exchange.ReadBody(scrap, 1, ServerExchange::kNever));
      drained += scrap.size();
    }
    co_return Result<void>();
  }

  Awaitable<void> DrainInTime(Http1Exchange& exchange) {
    (void)co_await WithDeadline(Drain(exchange), steady_clock::now() + kDrainTime,
                                "the request's body");
  }

  const Http1Options options_;
  const ServerTimeouts timeouts_;
  const ExchangeHandler handler_;
  TaskScope reader_;
  TaskScope call_;
  Wire wire_;
  Notifier call_done_{call_.executor()};
  bool answered_ = false;
};

}  // namespace

Awaitable<void> ServeHttp1(std::unique_ptr<ByteStream> stream, std::string initial,
                           Http1Options options, ServerTimeouts timeouts, ExchangeHandler handler) {
  Http1Server server(std::move(stream), std::move(initial), options, timeouts, std::move(handler));
  co_await server.Run();
}

}  // namespace cleanroom::http
