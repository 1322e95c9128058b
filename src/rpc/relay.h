// SendAll: passes on what a caller streams to a call of ours, and waits for that call's answer.
//
// The answer may come before everything has been sent, as an early refusal does: then the rest is
// not waited for, so that neither side waits for the other.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <utility>

#include "base/async.h"
#include "rpc/client_stream.h"

namespace cleanroom::rpc {

// The next message to send; nothing at the end. An error cancels the call and is its outcome.
template <typename Input>
using InputSource = std::function<Awaitable<Result<std::optional<Input>>>()>;

struct SendLimits {
  std::chrono::milliseconds write;   // for the peer to take one message
  std::chrono::milliseconds answer;  // for its answer, once it has all of them
};

namespace internal {

template <typename Input, typename Answer>
struct Sending {
  ClientStream<Input, Answer>& stream;
  const InputSource<Input>& next;
  SendLimits limits;
  std::optional<Error> failure{};
};

template <typename Input, typename Answer>
Awaitable<Result<void>> SendInputs(Sending<Input, Answer>* sending) {
  for (;;) {
    auto input = co_await sending->next();
    if (!input) co_return Err(std::move(input).error());
    if (!*input) break;
    auto sent = co_await WithDeadline(sending->stream.Write(**input),
                                      std::chrono::steady_clock::now() + sending->limits.write,
                                      "what was sent was not taken in time");
    if (!sent && sent.error().code() == ErrorCode::kDeadlineExceeded) co_return sent;
    if (!sent) co_return Result<void>();  // the call is over: its answer says why
  }
  auto closed = co_await sending->stream.CloseWrite();
  if (!closed) co_return Result<void>();
  auto waited = co_await SleepFor(sending->limits.answer);
  if (!waited) co_return Result<void>();
  co_return Err(ErrorCode::kDeadlineExceeded, "no answer came in time");
}

template <typename Input, typename Answer>
Awaitable<void> RunSending(Sending<Input, Answer>* sending) {
  auto sent = co_await SendInputs(sending);
  const bool cancelled = co_await Cancelled();
  if (sent || cancelled) co_return;
  sending->failure = std::move(sent).error();
  sending->stream.Cancel();
}

}  // namespace internal

template <typename Input, typename Answer>
Awaitable<Result<Answer>> SendAll(ClientStream<Input, Answer> stream, InputSource<Input> next,
                                  SendLimits limits) {
  const auto executor = co_await asio::this_coro::executor;
  internal::Sending<Input, Answer> sending{.stream = stream, .next = next, .limits = limits};
  TaskScope inputs(executor);
  inputs.Spawn(internal::RunSending(&sending));
  auto answer = co_await stream.Next();
  inputs.Cancel();
  co_await inputs.Join();
  if (sending.failure) co_return Err(std::move(*sending.failure));
  if (!answer) co_return Err(std::move(answer).error());
  if (!*answer) co_return Err(ErrorCode::kUnavailable, "the call ended without an answer");
  co_return std::move(**answer);
}

}  // namespace cleanroom::rpc
