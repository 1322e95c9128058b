// Http2Stream: one request and response on an HTTP/2 connection, seen from either side.
//
// What arrives waits in the stream until it is read, at most Http2Options::stream_window bytes:
// reading is what lets the peer send more. What is sent waits in the stream until the peer's window
// takes it.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "base/async.h"
#include "base/result.h"
#include "http/message.h"

namespace cleanroom::http {

class Http2Stream;

struct Http2Options {
  size_t max_streams = 128;  // that the peer may have open
  // Names, values and 32 for each, as in SETTINGS_MAX_HEADER_LIST_SIZE.
  size_t max_header_bytes = 64U << 10;
  size_t stream_window = 512U << 10;
  size_t write_queue = 256U << 10;  // bytes queued in a stream before its writer waits
};

// RFC 9113, section 7.
enum class Http2Code : uint32_t {
  kNoError = 0,
  kProtocolError = 1,
  kInternalError = 2,
  kRefusedStream = 7,
  kCancel = 8,
  kEnhanceYourCalm = 11,
};

// What a stream asks of its connection.
class Http2StreamOwner {
 public:
  virtual ~Http2StreamOwner() = default;
  virtual const Http2Options& options() const = 0;
  virtual bool is_client() const = 0;
  virtual void SubmitResponse(Http2Stream& stream, const Headers& headers, Ending ending) = 0;
  // The stream has something to send again.
  virtual void Resume(Http2Stream& stream) = 0;
  // So many bytes were read: the peer may send as many more.
  virtual void Consumed(const Http2Stream& stream, size_t bytes) = 0;
  virtual void SubmitReset(const Http2Stream& stream, Http2Code code) = 0;
};

// Made by Http2Connection, which it may outlive: everything then fails with kUnavailable. Belongs
// to the connection's thread.
class Http2Stream {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr TimePoint kNever = TimePoint::max();

  Http2Stream(Http2StreamOwner* connection, asio::any_io_executor executor);

  // The peer's head, with the pseudo-headers, once it has arrived; and its trailers, after the end.
  const Headers& head() const { return head_; }
  const Headers& trailers() const { return trailers_; }
  bool head_too_large() const { return head_too_large_; }

  // Waits for the peer's head. kDeadlineExceeded after `deadline`; otherwise fails as ReadBody
  // does.
  Awaitable<Result<void>> WaitHead(TimePoint deadline = kNever);
  // Appends what has arrived to `out`, waiting for at least one byte; false at the end of the
  // peer's body. kCanceled: this task was cancelled, or the stream was reset with CANCEL;
  // kUnavailable: the connection is gone or refused the stream; kResourceExhausted, kInternal:
  // other resets.
  // `wanted`: as for ServerExchange::ReadBody. One reader at a time.
  Awaitable<Result<bool>> ReadBody(std::string& out, size_t wanted = 1,
                                   TimePoint deadline = kNever);

  // Queues the response's head (server only).
  void SendHead(const Headers& headers, Ending ending);
  // Queues bytes, then waits while more than Http2Options::write_queue are queued. A client that
  // has its whole answer meanwhile waits no longer: kUnavailable.
  Awaitable<Result<void>> SendBody(std::string data, TimePoint deadline = kNever);
  // No more from this side.
  void Finish(Headers trailers = {});
  // Ends both directions at once. Nothing happens when they have ended.
  void Reset(Http2Code code);
  // For a server whose answer is complete while the request is still coming. After a refusal (a
  // status of 400 or more) the peer has `grace` from when the answer is sent to read it and stop;
  // then the stream is reset with NO_ERROR. Some clients (curl 7.88) forget an answer when a reset
  // comes with it, although RFC 9113, section 8.1 tells them not to. What still comes of the
  // request is dropped, within the stream's window. Returns at once after any other answer.
  Awaitable<void> Linger(std::chrono::milliseconds grace);

  bool finished() const { return finished_; }
  bool closed() const { return closed_; }

 private:
  friend class Http2Connection;

  Error WhyClosed() const;
  void Close(Http2Code code);
  void LoseConnection(const Error& why);

  Http2StreamOwner* connection_;  // null once that is gone
  int32_t id_ = 0;

  Headers head_;
  Headers trailers_;
  size_t header_bytes_ = 0;
  bool head_too_large_ = false;
  bool head_done_ = false;
  std::string inbox_;
  size_t wanted_ = 1;  // bytes in inbox_ that are worth waking the reader
  bool input_ended_ = false;

  std::deque<std::string> outbox_;
  size_t outbox_offset_ = 0;  // sent of the first chunk
  size_t outbox_bytes_ = 0;
  bool finished_ = false;    // after outbox_ comes the end
  bool refusal_ = false;     // the response's status is 400 or more
  bool open_ended_ = false;  // the response does not say how long it is
  bool answered_ = false;    // the response's end has been sent
  Headers trailers_to_send_;
  bool deferred_ = false;  // nghttp2 waits for nghttp2_session_resume_data

  bool closed_ = false;
  Http2Code close_code_ = Http2Code::kNoError;
  std::optional<Error> lost_;

  Notifier readable_;
  Notifier writable_;
};

}  // namespace cleanroom::http
