// Http2Connection: HTTP/2 (RFC 9113) over a ByteStream, either side, on nghttp2.
//
// nghttp2 keeps the protocol's state; this class moves the bytes, keeps the streams and bounds what
// a hostile peer can make us hold or do:
//  - headers per message (max_header_bytes) and streams (max_streams; nghttp2 refuses more);
//  - bytes that wait to be read: stream_window for each stream, so max_streams * stream_window in
//    all. The connection's own window is always given back at once: a stream that nobody reads
//    stalls no other;
//  - resets (nghttp2's stream_reset_rate_limit), CONTINUATION frames (nghttp2's max_continuations),
//    settings in a frame, unsent acknowledgements; PING, SETTINGS, PRIORITY and empty DATA frames
//    (TokenBucket). A peer that passes those is told ENHANCE_YOUR_CALM and disconnected.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/async.h"
#include "base/token_bucket.h"
#include "http/byte_stream.h"
#include "http/http2_stream.h"

struct nghttp2_session;

namespace cleanroom::http {

// Owned by whoever runs its two loops; both must have ended before it is destroyed.
class Http2Connection : private Http2StreamOwner {
 public:
  enum class Role { kServer, kClient };
  // Called from within ReadLoop or WriteLoop, never from within a call of the user.
  struct Events {
    // A request's head is complete (server).
    std::function<void(std::shared_ptr<Http2Stream>)> request;
    // The stream is over; a server's handler that still runs for it has nobody left to answer.
    std::function<void(const std::shared_ptr<Http2Stream>&)> closed;
  };

  Http2Connection(std::unique_ptr<ByteStream> stream, Role role, Http2Options options,
                  Events events);
  ~Http2Connection() override;
  Http2Connection(const Http2Connection&) = delete;
  Http2Connection& operator=(const Http2Connection&) = delete;

  // Moves bytes until the connection ends; `initial` was read from the stream before. The first of
  // them to end makes the other end. Cancelling the reader's task ends the connection.
  Awaitable<void> ReadLoop(std::string initial);
  Awaitable<void> WriteLoop();

  // Sends a request's head (client). `headers` begin with the pseudo-headers.
  Result<std::shared_ptr<Http2Stream>> Open(const Headers& headers);

  // Asks the peer for a sign of life; heard() changes when any comes.
  void Ping();
  // How often bytes have come.
  uint64_t heard() const { return heard_; }

  // Ends the connection now: every stream fails with `why`.
  void Fail(Error why);
  // Tells the peer `code` (GOAWAY), then ends.
  void GoAway(Http2Code code);
  // A client without a request under way says goodbye. The connection ends once the server has,
  // and nothing of it is on the stream then.
  void Goodbye();

  bool alive() const { return !failed_; }
  size_t open_streams() const { return streams_.size(); }
  // When the last incomplete head began to arrive, if one is arriving.
  std::optional<std::chrono::steady_clock::time_point> head_began() const { return head_began_; }
  // Whether an answer of unknown length is under way, which its reader may take as slowly as it
  // likes.
  bool streaming() const;
  // When bytes of an answer were last taken by the peer's windows.
  std::chrono::steady_clock::time_point moved() const { return moved_; }
  const Http2Options& options() const override { return options_; }
  asio::any_io_executor executor() const { return executor_; }

 private:
  struct Callbacks;  // nghttp2's view, in the .cc
  enum class Farewell { kNone, kHeard, kDue, kSaid, kAnswered };

  bool is_client() const override { return role_ == Role::kClient; }
  void SubmitResponse(Http2Stream& stream, const Headers& headers, Ending ending) override;
  void Resume(Http2Stream& stream) override;
  void Consumed(const Http2Stream& stream, size_t bytes) override;
  void SubmitReset(const Http2Stream& stream, Http2Code code) override;

  void Feed(std::string_view bytes);
  void FillOutput();
  void TellClosed();
  void AnswerGoodbye();
  void CheckFlood();
  std::shared_ptr<Http2Stream> Find(int32_t id) const;

  std::unique_ptr<ByteStream> stream_;
  asio::any_io_executor executor_;
  const Role role_;
  const Http2Options options_;
  Events events_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<int32_t, std::shared_ptr<Http2Stream>> streams_;
  std::vector<std::shared_ptr<Http2Stream>> just_closed_;
  std::string output_;
  Notifier wake_writer_;
  Notifier writer_done_;
  TokenBucket cheap_frames_;
  bool flooded_ = false;
  Farewell goodbye_ = Farewell::kNone;
  uint64_t heard_ = 0;
  std::chrono::steady_clock::time_point moved_;
  std::optional<std::chrono::steady_clock::time_point> head_began_;
  std::optional<Error> failed_;
};

}  // namespace cleanroom::http
