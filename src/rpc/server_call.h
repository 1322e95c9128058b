// ServerCall: the two directions of one call on the server, in the framing its content type asked
// for.
#pragma once

#include <optional>
#include <string>

#include "http/exchange.h"
#include "rpc/codec.h"
#include "rpc/envelope.h"
#include "rpc/protocol.h"
#include "rpc/service.h"

namespace cleanroom::rpc {

class ServerCall final : public MessageSource, public MessageSink {
 public:
  // `response_headers` is read when the head is sent. All references must outlive the call.
  ServerCall(http::ServerExchange& exchange, const ContentType& type, const Codec& codec,
             size_t max_message_bytes, const Metadata& response_headers);

  Awaitable<Result<bool>> Next(Message& out) override;
  Awaitable<Result<void>> Write(const Message& message) override;
  // Sends the outcome and ends the response.
  Awaitable<void> Finish(Result<void> outcome);

 private:
  Awaitable<Result<bool>> NextUnary(Message& out);
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
  std::optional<std::string> unary_response_;
  bool unary_read_ = false;
  bool head_sent_ = false;
};

}  // namespace cleanroom::rpc
