#include "http/http2_connection.h"

#include <fmt/format.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace cleanroom::http {
namespace {

constexpr size_t kReadBytes = 64U << 10;
constexpr size_t kOutputBytes = 192U << 10;  // gathered for one write
// GOAWAY with NO_ERROR (RFC 9113, section 6.8). Written past nghttp2, which after one of its own
// reads nothing more, and so not the answer either.
constexpr std::string_view kGoodbyeFrame("\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0", 17);
constexpr uint32_t kMaxFrame = 64U << 10;
constexpr int32_t kConnectionWindow = 16 << 20;
// Frames that cost the peer little and us some work: a burst, then a rate.
constexpr double kCheapBurst = 2000;
constexpr double kCheapPerSecond = 500;
constexpr uint64_t kResetBurst = 1000;
constexpr uint64_t kResetsPerSecond = 100;
constexpr auto kGoodbye = std::chrono::seconds(1);  // for a peer to take our last frame

std::vector<nghttp2_nv> ToNv(const Headers& headers) {
  std::vector<nghttp2_nv> out;
  out.reserve(headers.size());
  for (const auto& [name, value] : headers) {
    out.push_back({.name = reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                   .value = reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())),
                   .namelen = name.size(),
                   .valuelen = value.size(),
                   .flags = NGHTTP2_NV_FLAG_NONE});
  }
  return out;
}

}  // namespace

// The functions nghttp2 calls. None of them may call back into nghttp2's input or output.
struct Http2Connection::Callbacks {
  static Http2Connection& Self(void* user) { return *static_cast<Http2Connection*>(user); }

  static int BeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Http2Connection& self = Self(user);
    self.head_began_ = std::chrono::steady_clock::now();
    if (self.role_ == Role::kServer && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      auto stream =
          std::make_shared<Http2Stream>(static_cast<Http2StreamOwner*>(&self), self.executor_);
      stream->id_ = frame->hd.stream_id;
      self.streams_.emplace(stream->id_, std::move(stream));
    }
    if (const auto stream = self.Find(frame->hd.stream_id)) stream->header_bytes_ = 0;
    return 0;
  }

  static int Header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                    size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                    void* user) {
    Http2Connection& self = Self(user);
    const auto stream = self.Find(frame->hd.stream_id);
    if (!stream) return 0;
    stream->header_bytes_ += name_size + value_size + 32;
    if (stream->header_bytes_ > self.options_.max_header_bytes) {
      stream->head_too_large_ = true;
      if (self.role_ == Role::kClient || stream->head_done_)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      return 0;  // the server answers 431
    }
    Headers& into = stream->head_done_ ? stream->trailers_ : stream->head_;
    into.emplace_back(std::string(reinterpret_cast<const char*>(name), name_size),
                      std::string(reinterpret_cast<const char*>(value), value_size));
    return 0;
  }

  static int FrameReceived(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Http2Connection& self = Self(user);
    switch (frame->hd.type) {
      case NGHTTP2_PING:
      case NGHTTP2_SETTINGS:
      case NGHTTP2_PRIORITY:
        self.CheckFlood();
        return 0;
      case NGHTTP2_DATA:
        if (frame->hd.length == 0 && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
          self.CheckFlood();
        break;
      case NGHTTP2_HEADERS:
        self.head_began_.reset();
        break;
      case NGHTTP2_GOAWAY:
        self.goodbye_ = self.goodbye_ == Farewell::kSaid ? Farewell::kAnswered : Farewell::kHeard;
        self.AnswerGoodbye();
        return 0;
      default:
        return 0;
    }
    const auto stream = self.Find(frame->hd.stream_id);
    if (!stream) return 0;
    const bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (ended) stream->input_ended_ = true;
    if (ended && self.role_ == Role::kClient) stream->writable_.NotifyAll();
    if (frame->hd.type == NGHTTP2_HEADERS && !stream->head_done_) {
      const std::string_view status = FindHeader(stream->head_, ":status");
      if (self.role_ == Role::kClient && status.starts_with('1')) {
        stream->head_.clear();  // an informational response; the real one follows
        self.CheckFlood();
        return 0;
      }
      stream->head_done_ = true;
      if (self.role_ == Role::kServer) self.events_.request(stream);
    }
    if (ended || frame->hd.type == NGHTTP2_HEADERS) stream->readable_.NotifyAll();
    return 0;
  }

  static int DataReceived(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data,
                          size_t size, void* user) {
    Http2Connection& self = Self(user);
    nghttp2_session_consume_connection(session, size);
    const auto stream = self.Find(id);
    if (!stream || stream->closed_) {
      nghttp2_session_consume_stream(session, id, size);
      return 0;
    }
    if (stream->answered_) return 0;  // nobody wants it, and the window stays shut
    stream->inbox_.append(reinterpret_cast<const char*>(data), size);
    if (stream->inbox_.size() >= stream->wanted_) stream->readable_.NotifyAll();
    return 0;
  }

  static int StreamClosed(nghttp2_session*, int32_t id, uint32_t code, void* user) {
    Http2Connection& self = Self(user);
    const auto found = self.streams_.find(id);
    if (found == self.streams_.end()) return 0;
    const auto stream = found->second;
    self.streams_.erase(found);
    self.head_began_.reset();
    stream->Close(static_cast<Http2Code>(code));
    self.just_closed_.push_back(stream);
    self.AnswerGoodbye();
    return 0;
  }

  // A response that ended before its request did: tells the peer to stop sending (RFC 9113,
  // section 8.1). After a refusal that is left to Http2Stream::Linger.
  static int FrameSent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Http2Connection& self = Self(user);
    if (self.role_ != Role::kServer || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) return 0;
    const auto stream = self.Find(frame->hd.stream_id);
    if (!stream) return 0;
    stream->answered_ = true;
    if (stream->refusal_) {
      stream->inbox_.clear();
      stream->readable_.NotifyAll();
    } else if (!stream->input_ended_) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    }
    return 0;
  }

  // How long a DATA frame may be.
  static ssize_t FrameSize(nghttp2_session*, uint8_t, int32_t, int32_t connection_window,
                           int32_t stream_window, uint32_t max_frame, void*) {
    const int64_t limit = std::min<int64_t>(std::min(connection_window, stream_window),
                                            std::min(max_frame, kMaxFrame));
    return static_cast<ssize_t>(limit);
  }

  static ssize_t ReadSource(nghttp2_session* session, int32_t id, uint8_t*, size_t length,
                            uint32_t* flags, nghttp2_data_source* source, void*) {
    auto& stream = *static_cast<Http2Stream*>(source->ptr);
    const size_t size = std::min(length, stream.outbox_bytes_);
    if (stream.closed_ || (size == 0 && !stream.finished_)) {
      stream.deferred_ = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (size == stream.outbox_bytes_ && stream.finished_) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!stream.trailers_to_send_.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const auto trailers = ToNv(stream.trailers_to_send_);
        nghttp2_submit_trailer(session, id, trailers.data(), trailers.size());
      }
    }
    return static_cast<ssize_t>(size);
  }

  // Moves a DATA frame from the stream's queue to the output.
  static int SendData(nghttp2_session*, nghttp2_frame*, const uint8_t* frame_head, size_t length,
                      nghttp2_data_source* source, void* user) {
    Http2Connection& self = Self(user);
    auto& stream = *static_cast<Http2Stream*>(source->ptr);
    self.output_.append(reinterpret_cast<const char*>(frame_head), 9);
    self.moved_ = std::chrono::steady_clock::now();
    stream.outbox_bytes_ -= length;
    while (length > 0) {
      const std::string& chunk = stream.outbox_.front();
      const size_t n = std::min(length, chunk.size() - stream.outbox_offset_);
      self.output_.append(chunk, stream.outbox_offset_, n);
      length -= n;
      stream.outbox_offset_ += n;
      if (stream.outbox_offset_ == chunk.size()) {
        stream.outbox_.pop_front();
        stream.outbox_offset_ = 0;
      }
    }
    if (stream.outbox_bytes_ <= self.options_.write_queue / 2) stream.writable_.NotifyAll();
    return self.output_.size() >= kOutputBytes ? NGHTTP2_ERR_PAUSE : 0;
  }
};

Http2Connection::Http2Connection(std::unique_ptr<ByteStream> stream, Role role,
                                 Http2Options options, Events events)
    : stream_(std::move(stream)),
      executor_(stream_->executor()),
      role_(role),
      options_(options),
      events_(std::move(events)),
      wake_writer_(executor_),
      writer_done_(executor_),
      cheap_frames_(kCheapBurst, kCheapPerSecond) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::BeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::Header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::FrameReceived);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::DataReceived);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::StreamClosed);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, Callbacks::FrameSent);
  nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, Callbacks::FrameSize);
  nghttp2_session_callbacks_set_send_data_callback(callbacks, Callbacks::SendData);

  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_stream_reset_rate_limit(option, kResetBurst, kResetsPerSecond);

  std::vector<nghttp2_settings_entry> settings = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<uint32_t>(options_.stream_window)},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kMaxFrame},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(options_.max_header_bytes)},
  };
  if (role_ == Role::kServer) {
    settings.push_back(
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, static_cast<uint32_t>(options_.max_streams)});
    settings.push_back({NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1});
    nghttp2_session_server_new2(&session_, callbacks, this, option);
  } else {
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
    nghttp2_session_client_new2(&session_, callbacks, this, option);
  }
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
}

Http2Connection::~Http2Connection() {
  Fail(Error(ErrorCode::kUnavailable, "the connection is closed"));
  nghttp2_session_del(session_);
}

Awaitable<void> Http2Connection::ReadLoop(std::string initial) {
  if (!initial.empty()) Feed(initial);
  std::vector<std::byte> buffer(kReadBytes);
  while (alive() && nghttp2_session_want_read(session_) != 0) {
    auto size = co_await stream_->Read(buffer);
    if (!size) {
      Fail(std::move(size).error());
      break;
    }
    if (*size == 0) {
      Fail(Error(ErrorCode::kUnavailable, "the peer closed the connection"));
      break;
    }
    Feed({reinterpret_cast<const char*>(buffer.data()), *size});
  }
  // After a GOAWAY of ours nothing more is read; the writer gets a moment to tell it.
  const auto limit = std::chrono::steady_clock::now() + kGoodbye;
  bool waiting = alive();
  while (waiting) {
    const bool cancelled = co_await Cancelled();
    if (cancelled) break;
    const bool in_time = co_await writer_done_.WaitUntil(limit);
    waiting = in_time && alive();
  }
  Fail(Error(ErrorCode::kUnavailable, "the connection was ended for a violation of HTTP/2"));
}

Awaitable<void> Http2Connection::WriteLoop() {
  while (alive()) {
    FillOutput();
    if (!alive()) break;
    if (output_.empty()) {
      if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) {
        Fail(Error(ErrorCode::kUnavailable, "the connection has ended"));
        break;
      }
      const bool cancelled = co_await Cancelled();
      if (cancelled) break;
      co_await wake_writer_.Wait();
      continue;
    }
    auto written = co_await stream_->Write(std::as_bytes(std::span(output_)));
    if (!written) Fail(std::move(written).error());
  }
  Fail(Error(ErrorCode::kUnavailable, "the connection has ended"));
  writer_done_.NotifyAll();
}

Result<std::shared_ptr<Http2Stream>> Http2Connection::Open(const Headers& headers) {
  if (failed_) return Err(*failed_);
  auto stream = std::make_shared<Http2Stream>(static_cast<Http2StreamOwner*>(this), executor_);
  const auto fields = ToNv(headers);
  nghttp2_data_provider provider{.source = {.ptr = stream.get()},
                                 .read_callback = Callbacks::ReadSource};
  const int32_t id =
      nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), &provider, nullptr);
  if (id < 0) {
    return Err(ErrorCode::kUnavailable,
               fmt::format("no stream can be opened: {}", nghttp2_strerror(id)));
  }
  stream->id_ = id;
  streams_.emplace(id, stream);
  wake_writer_.NotifyAll();
  return stream;
}

void Http2Connection::Ping() {
  if (failed_) return;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
  wake_writer_.NotifyAll();
}

bool Http2Connection::streaming() const {
  return std::any_of(streams_.begin(), streams_.end(),
                     [](const auto& entry) { return entry.second->open_ended_; });
}

void Http2Connection::Fail(Error why) {
  if (failed_) return;
  failed_ = std::move(why);
  stream_->Close();
  head_began_.reset();
  for (auto& [id, stream] : streams_) {
    stream->LoseConnection(*failed_);
    just_closed_.push_back(stream);
  }
  streams_.clear();
  TellClosed();
  wake_writer_.NotifyAll();
  writer_done_.NotifyAll();
}

void Http2Connection::GoAway(Http2Code code) {
  if (failed_) return;
  nghttp2_session_terminate_session(session_, static_cast<uint32_t>(code));
  wake_writer_.NotifyAll();
}

// A client that has said goodbye gets its own once nothing is under way, and that is the end.
void Http2Connection::AnswerGoodbye() {
  if (role_ != Role::kServer || goodbye_ != Farewell::kHeard || !streams_.empty()) return;
  goodbye_ = Farewell::kNone;
  GoAway(Http2Code::kNoError);
}

void Http2Connection::Goodbye() {
  if (failed_) return;
  goodbye_ = Farewell::kDue;
  wake_writer_.NotifyAll();
}

void Http2Connection::SubmitResponse(Http2Stream& stream, const Headers& headers, Ending ending) {
  const auto fields = ToNv(headers);
  nghttp2_data_provider provider{.source = {.ptr = &stream},
                                 .read_callback = Callbacks::ReadSource};
  const std::string_view status = FindHeader(headers, ":status");
  stream.refusal_ = status.starts_with('4') || status.starts_with('5');
  stream.open_ended_ = ending == Ending::kMore && FindHeader(headers, "content-length").empty();
  nghttp2_submit_response(session_, stream.id_, fields.data(), fields.size(),
                          ending == Ending::kEnd ? nullptr : &provider);
  wake_writer_.NotifyAll();
}

void Http2Connection::Resume(Http2Stream& stream) {
  if (stream.deferred_) {
    stream.deferred_ = false;
    nghttp2_session_resume_data(session_, stream.id_);
  }
  wake_writer_.NotifyAll();
}

void Http2Connection::Consumed(const Http2Stream& stream, size_t bytes) {
  nghttp2_session_consume_stream(session_, stream.id_, bytes);
  wake_writer_.NotifyAll();
}

void Http2Connection::SubmitReset(const Http2Stream& stream, Http2Code code) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id_, static_cast<uint32_t>(code));
  wake_writer_.NotifyAll();
}

void Http2Connection::Feed(std::string_view bytes) {
  ++heard_;
  const ssize_t taken = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (taken < 0) {
    Fail(Error(ErrorCode::kUnavailable, fmt::format("the peer violates HTTP/2: {}",
                                                    nghttp2_strerror(static_cast<int>(taken)))));
    return;
  }
  if (flooded_) GoAway(Http2Code::kEnhanceYourCalm);
  if (goodbye_ == Farewell::kAnswered) {
    Fail(Error(ErrorCode::kUnavailable, "the connection has ended"));
  }
  TellClosed();
  if (nghttp2_session_want_write(session_) != 0) wake_writer_.NotifyAll();
}

void Http2Connection::FillOutput() {
  output_.clear();
  while (output_.size() < kOutputBytes) {
    const uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &data);
    if (size < 0) {
      Fail(Error(ErrorCode::kInternal, fmt::format("sending HTTP/2 frames: {}",
                                                   nghttp2_strerror(static_cast<int>(size)))));
      return;
    }
    if (size == 0) break;
    output_.append(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
  }
  if (goodbye_ == Farewell::kDue) {
    output_.append(kGoodbyeFrame);
    goodbye_ = Farewell::kSaid;
  }
  TellClosed();
}

void Http2Connection::TellClosed() {
  while (!just_closed_.empty()) {
    const auto closed = std::exchange(just_closed_, {});
    for (const auto& stream : closed) {
      if (events_.closed) events_.closed(stream);
    }
  }
}

void Http2Connection::CheckFlood() {
  if (!cheap_frames_.Take(std::chrono::steady_clock::now())) flooded_ = true;
}

std::shared_ptr<Http2Stream> Http2Connection::Find(int32_t id) const {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second;
}

}  // namespace cleanroom::http
