// One call of a client under way.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "base/async.h"
#include "base/result.h"
#include "rpc/service.h"

namespace cleanroom::rpc {

// Whether the server's errors may say what to do, and about what (base/error.h). One that is not
// trusted could have a user run what it likes: of its errors code and message are left.
enum class Advice { kDrop, kTake };

// One call under way, untyped. Destroying it before its end cancels the call.
class ClientCall : public MessageSource {
 public:
  // Sends one message. kCanceled/kUnavailable when the call is over: Next then says why.
  virtual Awaitable<Result<void>> Write(const Message& message) = 0;
  // No more messages from this side.
  virtual Awaitable<Result<void>> CloseWrite() = 0;
  // Tells the server to stop; Next returns kCanceled.
  virtual void Cancel() = 0;
  // Next (from MessageSource): false after the last message of a successful call; the server's
  // error, with its code, after a failed one.
};

template <typename Req, typename Resp>
class ClientStream {
 public:
  explicit ClientStream(std::unique_ptr<ClientCall> call) : call_(std::move(call)) {}
  Awaitable<Result<void>> Write(const Req& message) { return call_->Write(message); }
  Awaitable<Result<void>> CloseWrite() { return call_->CloseWrite(); }
  // The next message; nothing after the end of a successful call.
  Awaitable<Result<std::optional<Resp>>> Next() {
    Resp message;
    auto more = co_await call_->Next(message);
    if (!more) co_return Err(std::move(more).error());
    if (!*more) co_return std::optional<Resp>();
    co_return std::optional<Resp>(std::move(message));
  }
  void Cancel() { call_->Cancel(); }

 private:
  std::unique_ptr<ClientCall> call_;
};

}  // namespace cleanroom::rpc
