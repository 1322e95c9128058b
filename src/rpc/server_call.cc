#include "rpc/server_call.h"

#include <fmt/format.h>

#include <utility>

#include "base/text_coding.h"
#include "rpc/connect_error.h"
#include "rpc/grpc_status.h"
#include "rpc/status.h"

namespace cleanroom::rpc {
namespace {

// Larger messages are sent as they are: packing is done on the event loop, which must not stand.
constexpr size_t kMaxPacked = 1U << 20;
constexpr int kRest = 16;  // messages that are not tried after one that did not shrink by a tenth

}  // namespace

ServerCall::ServerCall(http::ServerExchange& exchange, const ContentType& type, const Codec& codec,
                       size_t max_message_bytes, const Metadata& response_headers)
    : exchange_(exchange),
      type_(type),
      codec_(codec),
      max_message_bytes_(max_message_bytes),
      response_headers_(response_headers),
      reader_(max_message_bytes) {}

Result<void> ServerCall::Negotiate(const Compression* compression, size_t compress_from) {
  compression_ = compression;
  const http::Headers& headers = exchange_.request().headers;
  const std::string_view name = compression != nullptr ? compression->name() : "";
  auto packed = ArePacked(type_.framing, headers, name);
  refused_packing_ = !packed;
  if (!packed) return Err(std::move(packed).error());
  request_packed_ = *packed;
  if (compression != nullptr && AcceptsPacking(type_.framing, headers, name))
    compress_from_ = compress_from;
  return {};
}

Awaitable<Result<bool>> ServerCall::Next(Message& out) {
  if (type_.framing == Framing::kConnectUnary) {
    auto read = co_await NextUnary(out);
    co_return read;
  }
  while (true) {
    CR_CO_TRY_ASSIGN(const auto envelope, reader_.Next());
    if (envelope) {
      CR_CO_TRY(Take(*envelope, out));
      co_return true;
    }
    const bool text = type_.framing == Framing::kGrpcWebText;
    const size_t missing = text ? 1 : reader_.missing();
    CR_CO_TRY_ASSIGN(const bool more, co_await exchange_.ReadBody(text ? base64_ : reader_.Input(),
                                                                  missing, deadline_));
    if (text) CR_CO_TRY(AppendBody(reader_.Input()));
    if (!more) {
      if (reader_.partial() || !base64_.empty()) {
        co_return Err(ErrorCode::kInvalidArgument, "the request ends inside a message");
      }
      co_return false;
    }
  }
}

Result<void> ServerCall::Take(const Envelope& envelope, Message& out) {
  if (envelope.flags != 0 && (envelope.flags != kFlagCompressed || !request_packed_)) {
    // What gRPC and Connect answer to a compressed message of a request that named no compression.
    const ErrorCode code =
        envelope.flags == kFlagCompressed ? ErrorCode::kInternal : ErrorCode::kInvalidArgument;
    return Err(code, fmt::format("an envelope with flags {:#x}, which was not agreed upon",
                                 envelope.flags));
  }
  if (envelope.flags == 0 || envelope.payload.empty()) return codec_.Decode(envelope.payload, out);
  CR_TRY_ASSIGN(const std::string message,
                compression_->Unpack(envelope.payload, max_message_bytes_));
  return codec_.Decode(message, out);
}

Awaitable<Result<bool>> ServerCall::NextUnary(Message& out) {
  if (std::exchange(unary_read_, true)) co_return false;
  std::string body;
  bool more = true;
  while (more) {
    CR_CO_TRY_ASSIGN(more, co_await exchange_.ReadBody(body, max_message_bytes_, deadline_));
    if (body.size() > max_message_bytes_) {
      co_return Err(
          Error(ErrorCode::kResourceExhausted,
                fmt::format("a message larger than the limit of {} bytes", max_message_bytes_))
              .Remedy("Send less at once"));
    }
  }
  if (request_packed_ && !body.empty()) {
    CR_CO_TRY_ASSIGN(body, compression_->Unpack(body, max_message_bytes_));
  }
  CR_CO_TRY(codec_.Decode(body, out));
  co_return true;
}

Result<void> ServerCall::AppendBody(std::string& out) {
  // Groups of four; padding may end any of them, where the sender flushed.
  size_t done = 0;
  for (; base64_.size() - done >= 4; done += 4) {
    const auto bytes = Base64Decode(std::string_view(base64_).substr(done, 4));
    if (!bytes) return Err(ErrorCode::kInvalidArgument, "the body is no base64");
    out.append(*bytes);
  }
  base64_.erase(0, done);
  return {};
}

// False when the message is better sent as it is.
bool ServerCall::Pack(std::string_view message, std::string& out) {
  if (compress_from_ == 0 || message.size() < compress_from_ || message.size() > kMaxPacked)
    return false;
  if (not_worth_it_ > 0) {
    --not_worth_it_;
    return false;
  }
  out = compression_->Pack(message);
  if (!out.empty() && out.size() < message.size() - message.size() / 10) return true;
  not_worth_it_ = kRest;
  return false;
}

void ServerCall::SendHead(int status, http::Ending ending, const http::Headers& more) {
  http::Headers headers(response_headers_.begin(), response_headers_.end());
  const bool json_error = type_.framing == Framing::kConnectUnary && status != 200;
  headers.emplace_back("content-type", json_error ? "application/json" : FormatContentType(type_));
  const PackingHeaders packing = PackingHeadersOf(type_.framing);
  if (refused_packing_ && compression_ != nullptr)
    headers.emplace_back(packing.accepted, compression_->name());
  if (compress_from_ > 0 && type_.framing != Framing::kConnectUnary)
    headers.emplace_back(packing.packed, compression_->name());
  headers.insert(headers.end(), more.begin(), more.end());
  exchange_.SendHead(status, headers, ending);
  head_sent_ = true;
}

Awaitable<Result<void>> ServerCall::Write(const Message& message) {
  std::string out;
  if (type_.framing == Framing::kConnectUnary) {
    CR_CO_TRY(codec_.Append(message, out));
    unary_response_ = std::move(out);
    co_return Result<void>();
  }
  const size_t place = BeginEnvelope(out, 0);
  CR_CO_TRY(codec_.Append(message, out));
  std::string packed;
  if (Pack(std::string_view(out).substr(place + kEnvelopeHead), packed)) {
    out.resize(place);
    (void)BeginEnvelope(out, kFlagCompressed);
    out += packed;
  }
  CR_CO_TRY(EndEnvelope(out, place));
  if (!head_sent_) SendHead(200, http::Ending::kMore, {});
  if (type_.framing == Framing::kGrpcWebText) out = Base64Encode(out, Padding::kEquals);
  auto sent = co_await exchange_.SendBody(std::move(out));
  co_return sent;
}

Awaitable<void> ServerCall::FinishUnary(Result<void> outcome) {
  if (outcome && !unary_response_)
    outcome = Err(ErrorCode::kInternal, "the handler wrote no response");
  std::string body;
  int status = 200;
  if (outcome) {
    body = std::move(*unary_response_);
  } else {
    body = ConnectErrorJson(outcome.error());
    status = HttpStatus(ToRpcCode(outcome.error().code()));
  }
  http::Headers more;
  std::string packed;
  if (outcome && Pack(body, packed)) {
    body = std::move(packed);
    more.emplace_back("content-encoding", compression_->name());
  }
  more.emplace_back("content-length", fmt::format("{}", body.size()));
  SendHead(status, http::Ending::kMore, more);
  (void)co_await exchange_.SendBody(std::move(body));
  exchange_.Finish({});
}

Awaitable<void> ServerCall::Finish(Result<void> outcome) {
  if (type_.framing == Framing::kConnectUnary) {
    co_await FinishUnary(std::move(outcome));
    co_return;
  }
  if (type_.framing == Framing::kGrpc) {
    http::Headers trailers = GrpcTrailers(outcome);
    if (head_sent_) {
      exchange_.Finish(trailers);
    } else if (outcome) {
      SendHead(200, http::Ending::kMore, {});
      exchange_.Finish(trailers);
    } else {
      SendHead(200, http::Ending::kEnd, trailers);
    }
    co_return;
  }
  const bool connect = type_.framing == Framing::kConnectStream;
  std::string out;
  const size_t place = BeginEnvelope(out, connect ? kFlagConnectEnd : kFlagWebTrailers);
  out += connect ? ConnectEndJson(outcome) : WebTrailers(GrpcTrailers(outcome));
  (void)EndEnvelope(out, place);
  if (type_.framing == Framing::kGrpcWebText) out = Base64Encode(out, Padding::kEquals);
  // A call that ended before its first message: the answer's length is known, and so it is no
  // stream that its reader may leave lying.
  if (!head_sent_) {
    http::Headers more;
    more.emplace_back("content-length", fmt::format("{}", out.size()));
    SendHead(200, http::Ending::kMore, more);
  }
  (void)co_await exchange_.SendBody(std::move(out));
  exchange_.Finish({});
}

}  // namespace cleanroom::rpc
