// One call of the client over an HTTP/2 stream, in any of the three protocols.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "http/http2_stream.h"
#include "rpc/client_stream.h"
#include "rpc/envelope.h"
#include "rpc/protocol.h"

namespace cleanroom::rpc {

class Http2Call final : public ClientCall {
 public:
  Http2Call(std::shared_ptr<http::Http2Stream> stream, Framing framing, size_t max_message_bytes,
            std::optional<std::chrono::steady_clock::time_point> deadline, Advice advice);
  ~Http2Call() override;

  Awaitable<Result<void>> Write(const Message& message) override;
  Awaitable<Result<void>> CloseWrite() override;
  void Cancel() override;
  Awaitable<Result<bool>> Next(Message& out) override;
  // Reads the end of the call; true when there is another message instead.
  Awaitable<Result<bool>> Finish();
  Framing framing() const { return framing_; }

 private:
  Awaitable<Result<bool>> Advance(Message& out);
  Awaitable<Result<void>> ReadHead();
  Awaitable<Result<bool>> NextUnary(Message& out);
  Awaitable<Result<bool>> NextEnveloped(Message& out);
  Result<bool> TakeSpecial(const Envelope& envelope);
  Result<bool> AtEnd() const;
  // What the server says of the outcome, as far as its advice is taken.
  Result<void> OfServer(Result<void> outcome) const;

  std::shared_ptr<http::Http2Stream> stream_;
  const Framing framing_;
  const size_t max_message_bytes_;
  const http::Http2Stream::TimePoint deadline_;
  const Advice advice_;
  EnvelopeReader reader_;
  bool head_read_ = false;
  bool unary_read_ = false;
  int status_ = 0;
  std::optional<Result<bool>> over_;  // what every further Next returns
};

}  // namespace cleanroom::rpc
