#include "client/attachment.h"

#include <utility>

namespace cleanroom::client {

Awaitable<Result<std::unique_ptr<Attachment>>> Attachment::Open(v1::ExecutionStub executions,
                                                                std::string sandbox_id,
                                                                std::string execution_id) {
  auto executor = co_await asio::this_coro::executor;
  auto stream = co_await executions.AttachExecution();
  if (!stream) co_return Err(std::move(stream).error());
  std::unique_ptr<Attachment> attachment(new Attachment(std::move(*stream), executor));
  v1::AttachExecutionRequest first;
  first.set_sandbox_id(std::move(sandbox_id));
  first.set_execution_id(std::move(execution_id));
  auto sent = co_await attachment->Send(std::move(first));
  if (!sent) {
    // The server has ended the call already: its reason says more than the failed write.
    auto reason = co_await attachment->Next();
    if (!reason) co_return Err(std::move(reason).error());
    co_return Err(std::move(sent).error());
  }
  co_return attachment;
}

Awaitable<Result<std::optional<v1::ExecutionStreamEvent>>> Attachment::Next() {
  auto event = co_await stream_.Next();
  co_return event;
}

Awaitable<Result<void>> Attachment::WriteStdin(std::string data) {
  v1::AttachExecutionRequest message;
  message.set_stdin(std::move(data));
  auto sent = co_await Send(std::move(message));
  co_return sent;
}

Awaitable<Result<void>> Attachment::CloseStdin() {
  v1::AttachExecutionRequest message;
  message.set_close_stdin(true);
  auto sent = co_await Send(std::move(message));
  co_return sent;
}

Awaitable<Result<void>> Attachment::Resize(int32_t rows, int32_t columns) {
  v1::AttachExecutionRequest message;
  message.mutable_resize()->set_rows(rows);
  message.mutable_resize()->set_columns(columns);
  auto sent = co_await Send(std::move(message));
  co_return sent;
}

Awaitable<Result<void>> Attachment::Signal(int32_t signal) {
  v1::AttachExecutionRequest message;
  message.set_signal(signal);
  auto sent = co_await Send(std::move(message));
  co_return sent;
}

Awaitable<Result<void>> Attachment::FinishSending() {
  auto closed = co_await stream_.CloseWrite();
  co_return closed;
}

Awaitable<Result<void>> Attachment::Send(v1::AttachExecutionRequest message) {
  while (sending_) {
    co_await turn_.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "cancelled before the input was sent");
  }
  sending_ = true;
  auto sent = co_await stream_.Write(message);
  sending_ = false;
  turn_.NotifyAll();
  co_return sent;
}

}  // namespace cleanroom::client
