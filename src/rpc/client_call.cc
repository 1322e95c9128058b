#include "rpc/client_call.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "cleanroom/v1/error.pb.h"
#include "rpc/codec.h"
#include "rpc/connect_error.h"
#include "rpc/grpc_status.h"
#include "rpc/status.h"

namespace cleanroom::rpc {

using http::Http2Code;

Http2Call::Http2Call(std::shared_ptr<http::Http2Stream> stream, Framing framing,
                     size_t max_message_bytes,
                     std::optional<std::chrono::steady_clock::time_point> deadline, Advice advice)
    : stream_(std::move(stream)),
      framing_(framing),
      max_message_bytes_(max_message_bytes),
      deadline_(deadline.value_or(http::Http2Stream::kNever)),
      advice_(advice),
      reader_(max_message_bytes) {}

Result<void> Http2Call::OfServer(Result<void> outcome) const {
  if (outcome || advice_ == Advice::kTake) return outcome;
  return Err(outcome.error().code(), outcome.error().message());
}

Http2Call::~Http2Call() { stream_->Reset(Http2Code::kCancel); }

Awaitable<Result<void>> Http2Call::Write(const Message& message) {
  std::string out;
  if (framing_ == Framing::kConnectUnary) {
    CR_CO_TRY(BinaryCodec().Append(message, out));
  } else {
    const size_t place = BeginEnvelope(out, 0);
    CR_CO_TRY(BinaryCodec().Append(message, out));
    CR_CO_TRY(EndEnvelope(out, place));
  }
  auto sent = co_await stream_->SendBody(std::move(out), deadline_);
  co_return sent;
}

Awaitable<Result<void>> Http2Call::CloseWrite() {
  stream_->Finish();
  co_return Result<void>();
}

void Http2Call::Cancel() {
  if (!over_) over_ = Err(ErrorCode::kCanceled, "the call was cancelled");
  stream_->Reset(Http2Code::kCancel);
}

Awaitable<Result<bool>> Http2Call::Next(Message& out) {
  if (over_) co_return *over_;
  auto next = co_await Advance(out);
  if (over_) co_return *over_;  // cancelled meanwhile
  if (!next || !*next) {
    const bool cancelled = co_await Cancelled();
    if (!cancelled) {
      over_ = next;
      if (!next) stream_->Reset(Http2Code::kCancel);
    }
  }
  co_return next;
}

Awaitable<Result<bool>> Http2Call::Finish() {
  v1::ErrorDetail any_message;
  auto next = co_await Next(any_message);
  co_return next;
}

Awaitable<Result<bool>> Http2Call::Advance(Message& out) {
  if (!head_read_) {
    CR_CO_TRY(co_await ReadHead());
    head_read_ = true;
  }
  if (framing_ == Framing::kConnectUnary) {
    auto next = co_await NextUnary(out);
    co_return next;
  }
  auto next = co_await NextEnveloped(out);
  co_return next;
}

Awaitable<Result<void>> Http2Call::ReadHead() {
  CR_CO_TRY(co_await stream_->WaitHead(deadline_));
  const std::string_view text = http::FindHeader(stream_->head(), ":status");
  std::from_chars(text.data(), text.data() + text.size(), status_);
  if (framing_ == Framing::kConnectUnary && status_ != 200) {
    std::string body;
    bool more = true;
    while (more && body.size() <= kMaxErrorJson) {
      CR_CO_TRY_ASSIGN(more, co_await stream_->ReadBody(body, kMaxErrorJson, deadline_));
    }
    co_return OfServer(Err(ParseConnectError(body, status_)));
  }
  if (status_ != 200) {
    co_return Err(
        FromWire(FromHttpStatus(status_), fmt::format("the server answered HTTP {}", status_), {}));
  }
  const auto type = ParseContentType(http::FindHeader(stream_->head(), "content-type"));
  if (!type || type->framing != framing_ || type->codec != "proto") {
    co_return Err(ErrorCode::kInternal,
                  "the server answered with another content type than asked for");
  }
  // We ask for none.
  CR_CO_TRY(ArePacked(framing_, stream_->head(), {}));
  co_return Result<void>();
}

Awaitable<Result<bool>> Http2Call::NextUnary(Message& out) {
  if (std::exchange(unary_read_, true)) co_return false;
  std::string body;
  bool more = true;
  while (more) {
    CR_CO_TRY_ASSIGN(more, co_await stream_->ReadBody(body, max_message_bytes_, deadline_));
    if (body.size() > max_message_bytes_) {
      co_return Err(
          Error(ErrorCode::kResourceExhausted,
                fmt::format("a response larger than the limit of {} bytes", max_message_bytes_))
              .Remedy("Ask for less at once"));
    }
  }
  auto decoded = BinaryCodec().Decode(body, out);
  if (!decoded) co_return Err(ErrorCode::kInternal, decoded.error().message());
  co_return true;
}

Awaitable<Result<bool>> Http2Call::NextEnveloped(Message& out) {
  while (true) {
    CR_CO_TRY_ASSIGN(const auto envelope, reader_.Next());
    if (envelope && envelope->flags == 0) {
      auto decoded = BinaryCodec().Decode(envelope->payload, out);
      if (!decoded) co_return Err(ErrorCode::kInternal, decoded.error().message());
      co_return true;
    }
    if (envelope) co_return TakeSpecial(*envelope);
    const size_t missing = reader_.missing();
    CR_CO_TRY_ASSIGN(const bool more,
                     co_await stream_->ReadBody(reader_.Input(), missing, deadline_));
    if (!more) co_return AtEnd();
  }
}

// The envelope that ends a response.
Result<bool> Http2Call::TakeSpecial(const Envelope& envelope) {
  if (framing_ == Framing::kConnectStream && envelope.flags == kFlagConnectEnd) {
    CR_TRY(OfServer(ParseConnectEnd(envelope.payload)));
    return false;
  }
  if (framing_ == Framing::kGrpcWeb && envelope.flags == kFlagWebTrailers) {
    CR_TRY(OfServer(ParseGrpcTrailers(ParseWebTrailers(envelope.payload))));
    return false;
  }
  return Err(ErrorCode::kInternal,
             fmt::format("the server sent an envelope with flags {:#x}", envelope.flags));
}

Result<bool> Http2Call::AtEnd() const {
  if (reader_.partial()) return Err(ErrorCode::kInternal, "the response ends inside a message");
  if (framing_ == Framing::kConnectStream) {
    return Err(ErrorCode::kInternal, "the response ends without saying how the call ended");
  }
  const bool in_head = stream_->trailers().empty();
  CR_TRY(OfServer(ParseGrpcTrailers(in_head ? stream_->head() : stream_->trailers())));
  return false;
}

}  // namespace cleanroom::rpc
