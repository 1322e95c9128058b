// ServerCall: the two directions of one call on the server, in the framing its content type asked
// for.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "http/exchange.h"
#include "rpc/codec.h"
#include "rpc/compression.h"
#include "rpc/envelope.h"
#include "rpc/protocol.h"
#include "rpc/service.h"

namespace cleanroom::rpc {

class ServerCall final : public MessageSource, public MessageSink {
 public:
  // `response_headers` is read when the head is sent. All references must outlive the call.
  ServerCall(http::ServerExchange& exchange, const ContentType& type, const Codec& codec,
             size_t max_message_bytes, const Metadata& response_headers);

  // From the request's head, before anything else: how its messages are packed, and whether those
  // of the response may be (compress_from: ServerOptions). kUnimplemented: by something that
  // `compression`, which may be null, is not; the response then names what it is.
  Result<void> Negotiate(const Compression* compression, size_t compress_from);

  // What is read of the request must arrive within this time from now.
  void ExpectWithin(std::chrono::seconds time) {
    deadline_ = std::chrono::steady_clock::now() + time;
  }

  Awaitable<Result<bool>> Next(Message& out) override;
  Awaitable<Result<void>> Write(const Message& message) override;
  // Sends the outcome and ends the response.
  Awaitable<void> Finish(Result<void> outcome);

 private:
  Awaitable<Result<bool>> NextUnary(Message& out);
  Result<void> Take(const Envelope& envelope, Message& out);
  bool Pack(std::string_view message, std::string& out);
  Result<void> AppendBody(std::string& out);  // decodes base64 where that is the framing
  Awaitable<void> FinishUnary(Result<void> outcome);
  void SendHead(int status, http::Ending ending, const http::Headers& more);

  http::ServerExchange& exchange_;
  const ContentType type_;
  const Codec& codec_;
  const size_t max_message_bytes_;
  const Metadata& response_headers_;
  EnvelopeReader reader_;
  std::string base64_;  // not yet decoded
  http::ServerExchange::TimePoint deadline_ = http::ServerExchange::kNever;
  std::optional<std::string> unary_response_;
  const Compression* compression_ = nullptr;  // of the request's messages and of the response's
  bool request_packed_ = false;
  bool refused_packing_ = false;
  size_t compress_from_ = 0;  // 0: the response is not packed
  int not_worth_it_ = 0;      // messages that will not be tried, because the last one hardly shrank
  bool unary_read_ = false;
  bool head_sent_ = false;
};

}  // namespace cleanroom::rpc
