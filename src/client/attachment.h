// Attachment: a running command's input and output over one AttachExecution call.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/async.h"
#include "cleanroom/v1/execution.rpc.h"

namespace cleanroom::client {

// Belongs to the channel's thread. Destroying it detaches: the command goes on.
class Attachment {
 public:
  // Opens the call and names the execution. Does not wait for the server's answer.
  static Awaitable<Result<std::unique_ptr<Attachment>>> Open(v1::ExecutionStub executions,
                                                             std::string sandbox_id,
                                                             std::string execution_id);

  // The next event; what was written before the call is replayed. The last one carries the exit.
  // Nothing when the server ended the stream without one.
  Awaitable<Result<std::optional<v1::ExecutionStreamEvent>>> Next();

  // May be called from several tasks: messages are sent one at a time. Each returns when the
  // transport has taken the message, so a command that does not read holds its writer back.
  Awaitable<Result<void>> WriteStdin(std::string data);
  Awaitable<Result<void>> CloseStdin();
  Awaitable<Result<void>> Resize(int32_t rows, int32_t columns);
  // A Linux signal number, for the command's process group.
  Awaitable<Result<void>> Signal(int32_t signal);
  // This side will send nothing more; the command's stdin stays as it is.
  Awaitable<Result<void>> FinishSending();

 private:
  using Stream = rpc::ClientStream<v1::AttachExecutionRequest, v1::ExecutionStreamEvent>;
  Attachment(Stream stream, asio::any_io_executor executor)
      : stream_(std::move(stream)), turn_(std::move(executor)) {}
  Awaitable<Result<void>> Send(v1::AttachExecutionRequest message);

  Stream stream_;
  bool sending_ = false;
  Notifier turn_;
};

}  // namespace cleanroom::client
