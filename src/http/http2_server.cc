#include "http/http2_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <optional>
#include <utility>

namespace cleanroom::http {
namespace {

// Handlers that are being cancelled still count, so that opening and resetting streams gains
// nothing.
constexpr size_t kHandlersPerStream = 2;
// For who still sends a request that has been refused to read the refusal.
constexpr std::chrono::seconds kRefusalGrace{2};
// For our goodbye to leave.
constexpr std::chrono::seconds kGoodbye{1};

class Http2Exchange final : public ServerExchange {
 public:
  explicit Http2Exchange(std::shared_ptr<Http2Stream> stream) : stream_(std::move(stream)) {
    for (const auto& [name, value] : stream_->head()) {
      if (name == ":method") {
        request_.method = value;
      } else if (name == ":path") {
        request_.path = value.substr(0, value.find('?'));
      } else if (!name.starts_with(':')) {
        request_.headers.emplace_back(name, value);
      }
    }
  }

  const RequestHead& request() const override { return request_; }
  bool carries_trailers() const override { return true; }
  Awaitable<Result<bool>> ReadBody(std::string& out, size_t wanted, TimePoint deadline) override {
    return stream_->ReadBody(out, wanted, deadline);
  }
  void SendHead(int status, const Headers& headers, Ending ending) override {
    Headers all;
    all.reserve(headers.size() + 1);
    all.emplace_back(":status", fmt::format("{}", status));
    all.insert(all.end(), headers.begin(), headers.end());
    stream_->SendHead(all, ending);
  }
  Awaitable<Result<void>> SendBody(std::string data) override {
    return stream_->SendBody(std::move(data));
  }
  void Finish(const Headers& trailers) override { stream_->Finish(trailers); }
  void Abort() override { stream_->Reset(Http2Code::kInternalError); }

  const std::shared_ptr<Http2Stream>& stream() const { return stream_; }

 private:
  std::shared_ptr<Http2Stream> stream_;
  RequestHead request_;
};

// Frame of ServeHttp2: lives until all its tasks have ended.
class Http2Server {
 public:
  Http2Server(std::unique_ptr<ByteStream> stream, Http2Options options, ServerTimeouts timeouts,
              ExchangeHandler handler)
      : handler_(std::move(handler)),
        timeouts_(timeouts),
        tasks_(stream->executor()),
        connection_(
            std::move(stream), Http2Connection::Role::kServer, options,
            {.request = [this](std::shared_ptr<Http2Stream> request) { Begin(std::move(request)); },
             .closed = [this](const std::shared_ptr<Http2Stream>& gone) { Cancel(gone); }}) {}

  Awaitable<void> Run(std::string initial) {
    tasks_.Spawn(connection_.WriteLoop());
    if (timeouts_.head.count() > 0 || timeouts_.idle.count() > 0) tasks_.Spawn(Watch());
    idle_since_ = std::chrono::steady_clock::now();
    co_await connection_.ReadLoop(std::move(initial));
    for (auto& call : calls_) call.task->Cancel();
    tasks_.Cancel();
    while (!calls_.empty()) {
      co_await calls_.front().task->Join();
      calls_.pop_front();
    }
    co_await tasks_.Join();
  }

 private:
  struct Call {
    std::unique_ptr<Http2Exchange> exchange;
    std::unique_ptr<TaskScope> task;
  };

  void Begin(std::shared_ptr<Http2Stream> request) {
    calls_.remove_if([](const Call& call) { return call.task->size() == 0; });
    if (calls_.size() >= connection_.options().max_streams * kHandlersPerStream) {
      request->Reset(Http2Code::kEnhanceYourCalm);
      return;
    }
    Call& call = calls_.emplace_back();
    call.exchange = std::make_unique<Http2Exchange>(std::move(request));
    call.task = std::make_unique<TaskScope>(connection_.executor());
    call.task->Spawn(Answer(call.exchange.get()));
  }

  Awaitable<void> Answer(Http2Exchange* exchange) {
    if (exchange->stream()->head_too_large()) {
      exchange->SendHead(431, {}, Ending::kEnd);
    } else {
      co_await handler_(*exchange);
      if (!exchange->stream()->finished()) exchange->Abort();
    }
    idle_since_ = std::chrono::steady_clock::now();
    co_await exchange->stream()->Linger(kRefusalGrace);
  }

  void Cancel(const std::shared_ptr<Http2Stream>& gone) {
    for (auto& call : calls_) {
      if (call.exchange->stream() == gone) call.task->Cancel();
    }
  }

  bool HeadIsLate(std::chrono::steady_clock::time_point now) const {
    const auto began = connection_.head_began();
    return timeouts_.head.count() > 0 && began && now - *began >= timeouts_.head;
  }

  // PINGs and settings do not count.
  bool Idle(std::chrono::steady_clock::time_point now) const {
    if (timeouts_.idle.count() == 0 || connection_.streaming()) return false;
    const bool busy = std::any_of(calls_.begin(), calls_.end(),
                                  [](const Call& call) { return call.task->size() > 0; });
    return !busy && now - std::max(idle_since_, connection_.moved()) >= timeouts_.idle;
  }

  // Looks twice in each timeout, so that nothing on the path of a request arms a timer.
  Awaitable<void> Watch() {
    std::chrono::milliseconds period = timeouts_.head.count() > 0 ? timeouts_.head : timeouts_.idle;
    if (timeouts_.idle.count() > 0)
      period = std::min<std::chrono::milliseconds>(period, timeouts_.idle);
    while (connection_.alive()) {
      auto slept = co_await SleepFor(period / 2);
      if (!slept) co_return;
      const auto now = std::chrono::steady_clock::now();
      const Error late(ErrorCode::kDeadlineExceeded, "the peer sent no request in time");
      if (HeadIsLate(now)) connection_.Fail(late);
      if (!Idle(now)) continue;
      // So that a request which crosses it is known not to have been read (RFC 9113, section 6.8).
      connection_.GoAway(Http2Code::kNoError);
      auto said = co_await SleepFor(kGoodbye);
      if (!said) co_return;
      connection_.Fail(late);
    }
  }

  ExchangeHandler handler_;
  ServerTimeouts timeouts_;
  TaskScope tasks_;
  std::list<Call> calls_;
  std::chrono::steady_clock::time_point idle_since_;
  Http2Connection connection_;
};

}  // namespace

Awaitable<void> ServeHttp2(std::unique_ptr<ByteStream> stream, std::string initial,
                           Http2Options options, ServerTimeouts timeouts, ExchangeHandler handler) {
  Http2Server server(std::move(stream), options, timeouts, std::move(handler));
  co_await server.Run(std::move(initial));
}

}  // namespace cleanroom::http
