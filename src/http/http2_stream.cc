#include "http/http2_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace cleanroom::http {
namespace {

// Chunks smaller than this are joined, so that small writes become one frame.
constexpr size_t kJoinBelow = 16U << 10;

}  // namespace

Http2Stream::Http2Stream(Http2StreamOwner* connection, asio::any_io_executor executor)
    : connection_(connection), readable_(executor), writable_(executor) {}

Awaitable<Result<void>> Http2Stream::WaitHead(TimePoint deadline) {
  while (!head_done_) {
    if (closed_) co_return Err(WhyClosed());
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "the call was cancelled");
    const bool in_time = co_await readable_.WaitUntil(deadline);
    if (!in_time && !head_done_) co_return Err(ErrorCode::kDeadlineExceeded, "no response in time");
  }
  co_return Result<void>();
}

Awaitable<Result<bool>> Http2Stream::ReadBody(std::string& out, size_t wanted, TimePoint deadline) {
  wanted_ = 1;
  if (connection_ != nullptr) {
    // The peer can always send half a window more: the rest may not have been given back yet.
    wanted_ = std::clamp<size_t>(wanted, 1, connection_->options().stream_window / 2);
  }
  bool in_time = true;
  while (true) {
    const bool enough = inbox_.size() >= wanted_ || input_ended_ || closed_ || !in_time;
    if (enough && !inbox_.empty()) {
      const size_t size = inbox_.size();
      if (out.empty()) {
        out.swap(inbox_);
      } else {
        out.append(inbox_);
        inbox_.clear();
      }
      if (connection_ != nullptr && !closed_) connection_->Consumed(*this, size);
      co_return true;
    }
    if (input_ended_) co_return false;
    if (closed_) co_return Err(WhyClosed());
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "the call was cancelled");
    if (!in_time) co_return Err(ErrorCode::kDeadlineExceeded, "the body did not arrive in time");
    in_time = co_await readable_.WaitUntil(deadline);
  }
}

void Http2Stream::SendHead(const Headers& headers, Ending ending) {
  if (ending == Ending::kEnd) finished_ = true;
  if (connection_ != nullptr && !closed_) connection_->SubmitResponse(*this, headers, ending);
}

Awaitable<Result<void>> Http2Stream::SendBody(std::string data, TimePoint deadline) {
  if (closed_) co_return Err(WhyClosed());
  if (finished_) co_return Err(ErrorCode::kCanceled, "this side has finished sending");
  if (!data.empty()) {
    outbox_bytes_ += data.size();
    if (!outbox_.empty() && outbox_.back().size() + data.size() < kJoinBelow) {
      outbox_.back().append(data);
    } else {
      outbox_.push_back(std::move(data));
    }
    connection_->Resume(*this);
  }
  while (!closed_ && outbox_bytes_ > connection_->options().write_queue) {
    if (connection_->is_client() && input_ended_)
      co_return Err(ErrorCode::kUnavailable, "the peer has answered before the request's end");
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "the call was cancelled");
    const bool in_time = co_await writable_.WaitUntil(deadline);
    if (!in_time) co_return Err(ErrorCode::kDeadlineExceeded, "the peer did not read in time");
  }
  if (closed_) co_return Err(WhyClosed());
  co_return Result<void>();
}

void Http2Stream::Finish(Headers trailers) {
  if (finished_ || closed_) return;
  finished_ = true;
  trailers_to_send_ = std::move(trailers);
  connection_->Resume(*this);
}

void Http2Stream::Reset(Http2Code code) {
  if (closed_) return;
  Http2StreamOwner* connection = connection_;
  Close(code);
  connection->SubmitReset(*this, code);
}

Awaitable<void> Http2Stream::Linger(std::chrono::milliseconds grace) {
  TimePoint limit = kNever;
  bool in_time = refusal_;
  while (in_time && !closed_ && !input_ended_) {
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return;
    if (answered_ && limit == kNever) limit = std::chrono::steady_clock::now() + grace;
    in_time = co_await readable_.WaitUntil(limit);
  }
  if (refusal_ && !closed_ && !input_ended_) Reset(Http2Code::kNoError);
}

Error Http2Stream::WhyClosed() const {
  if (lost_) return *lost_;
  switch (close_code_) {
    case Http2Code::kNoError:
      return Error(ErrorCode::kUnavailable, "the peer ended the stream");
    case Http2Code::kCancel:
      return Error(ErrorCode::kCanceled, "the call was cancelled");
    case Http2Code::kRefusedStream:
      return Error(ErrorCode::kUnavailable, "the peer refused the stream");
    case Http2Code::kEnhanceYourCalm:
      return Error(ErrorCode::kResourceExhausted, "the peer asks for fewer requests");
    default:
      return Error(ErrorCode::kInternal,
                   fmt::format("the peer reset the stream with HTTP/2 error {}",
                               static_cast<uint32_t>(close_code_)));
  }
}

void Http2Stream::Close(Http2Code code) {
  if (closed_) return;
  closed_ = true;
  close_code_ = code;
  outbox_.clear();
  outbox_bytes_ = 0;
  readable_.NotifyAll();
  writable_.NotifyAll();
}

void Http2Stream::LoseConnection(const Error& why) {
  connection_ = nullptr;
  if (closed_) return;
  if (!input_ended_) lost_ = why;
  Close(Http2Code::kNoError);
}

}  // namespace cleanroom::http
