#include "warden/service.h"

#include <string>
#include <utility>

namespace cleanroom::warden {
namespace {

using rpc::CallContext;
using rpc::Reader;
using rpc::Writer;

std::string Path(std::string_view method) {
  return std::string("/cleanroom.internal.v1.WardenService/").append(method);
}

Awaitable<Result<pb::StartExecutionResponse>> StartExecution(Supervisor& supervisor,
                                                             pb::StartExecutionRequest request) {
  auto started = supervisor.StartExecution(std::move(request));
  if (!started) co_return Err(std::move(started).error());
  co_return pb::StartExecutionResponse();
}

Awaitable<Result<pb::SetStageResponse>> SetStage(Supervisor& supervisor,
                                                 pb::SetStageRequest request) {
  auto set = supervisor.SetStage(request);
  if (!set) co_return Err(std::move(set).error());
  co_return pb::SetStageResponse();
}

Awaitable<Result<pb::SendInputResponse>> SendInput(Supervisor& supervisor,
                                                   pb::SendInputRequest request) {
  const std::string id = request.execution_id();
  auto sent = co_await supervisor.Input(id, std::move(*request.mutable_input()));
  if (!sent) co_return Err(std::move(sent).error());
  co_return pb::SendInputResponse();
}

Awaitable<Result<pb::StopResponse>> Stop(Supervisor& supervisor, pb::StopRequest request) {
  co_await supervisor.Stop(std::chrono::milliseconds(request.grace_ms()));
  co_return pb::StopResponse();
}

Awaitable<Result<pb::MakeTemplateResponse>> MakeTemplate(Supervisor& supervisor,
                                                         pb::MakeTemplateRequest request) {
  auto made = co_await supervisor.MakeTemplate(std::move(request));
  if (!made) co_return Err(std::move(made).error());
  co_return pb::MakeTemplateResponse();
}

// Inputs of an attachment, until the caller stops sending.
Awaitable<void> PumpInputs(Supervisor& supervisor, std::string id, Reader<pb::AttachInput>& in) {
  while (true) {
    auto next = co_await in.Next();
    if (!next || !*next) co_return;
    pb::AttachInput message = **std::move(next);
    if (message.input().input_case() == pb::ExecInput::INPUT_NOT_SET) continue;
    auto sent = co_await supervisor.Input(id, std::move(*message.mutable_input()));
    // Input for a command that has ended is not an error of the attachment, which ends by itself.
    if (!sent && sent.error().code() == ErrorCode::kCanceled) co_return;
  }
}

Awaitable<Result<void>> Attach(Supervisor& supervisor, Reader<pb::AttachInput>& in,
                               Writer<pb::AttachEvent>& out) {
  auto first = co_await in.Next();
  if (!first) co_return Err(std::move(first).error());
  if (!*first)
    co_return Err(ErrorCode::kInvalidArgument, "an attachment begins with the execution's id");
  pb::AttachInput opening = **std::move(first);
  auto execution = supervisor.FindExecution(opening.execution_id());
  if (!execution) co_return Err(std::move(execution).error());
  if (opening.input().input_case() != pb::ExecInput::INPUT_NOT_SET) {
    auto sent =
        co_await supervisor.Input(opening.execution_id(), std::move(*opening.mutable_input()));
    if (!sent) co_return Err(std::move(sent).error());
  }

  const auto executor = co_await asio::this_coro::executor;
  TaskScope inputs(executor);
  inputs.Spawn(PumpInputs(supervisor, opening.execution_id(), in));
  auto followed = co_await (*execution)->Follow(opening.offset(), opening.follow(), out);
  inputs.Cancel();
  co_await inputs.Join();
  co_return followed;
}

}  // namespace

void RegisterWardenService(Supervisor& supervisor, NetworkLog& network_log, rpc::Router& router) {
  router.ServerStream<pb::LaunchRequest, pb::LaunchEvent>(
      Path("Launch"),
      [&supervisor](CallContext&, pb::LaunchRequest request, Writer<pb::LaunchEvent>& out) {
        return supervisor.Launch(std::move(request), out);
      });
  router.ServerStream<pb::PrepareMachineRequest, pb::LaunchEvent>(
      Path("Prepare"),
      [&supervisor](CallContext&, pb::PrepareMachineRequest request, Writer<pb::LaunchEvent>& out) {
        return supervisor.Prepare(std::move(request), out);
      });
  router.Unary<pb::MakeTemplateRequest, pb::MakeTemplateResponse>(
      Path("MakeTemplate"), [&supervisor](CallContext&, pb::MakeTemplateRequest request) {
        return MakeTemplate(supervisor, std::move(request));
      });
  router.ServerStream<pb::WatchStateRequest, pb::WardenState>(
      Path("WatchState"),
      [&supervisor](CallContext&, pb::WatchStateRequest, Writer<pb::WardenState>& out) {
        return supervisor.WatchState(out);
      });
  router.Unary<pb::StartExecutionRequest, pb::StartExecutionResponse>(
      Path("StartExecution"), [&supervisor](CallContext&, pb::StartExecutionRequest request) {
        return StartExecution(supervisor, std::move(request));
      });
  router.Bidi<pb::AttachInput, pb::AttachEvent>(
      Path("AttachExecution"),
      [&supervisor](CallContext&, Reader<pb::AttachInput>& in, Writer<pb::AttachEvent>& out) {
        return Attach(supervisor, in, out);
      });
  router.Unary<pb::SendInputRequest, pb::SendInputResponse>(
      Path("SendInput"), [&supervisor](CallContext&, pb::SendInputRequest request) {
        return SendInput(supervisor, std::move(request));
      });
  router.ServerStream<pb::ReadFileRequest, pb::FileChunk>(
      Path("ReadFile"),
      [&supervisor](CallContext&, pb::ReadFileRequest request, Writer<pb::FileChunk>& out) {
        return supervisor.ReadFile(std::move(request), out);
      });
  router.ServerStream<pb::WatchNetworkRequest, pb::NetworkEvent>(
      Path("WatchNetwork"),
      [&network_log](CallContext&, pb::WatchNetworkRequest request, Writer<pb::NetworkEvent>& out) {
        return network_log.Watch(std::move(request), out);
      });
  router.Unary<pb::SetStageRequest, pb::SetStageResponse>(
      Path("SetStage"), [&supervisor](CallContext&, pb::SetStageRequest request) {
        return SetStage(supervisor, std::move(request));
      });
  router.Unary<pb::StopRequest, pb::StopResponse>(
      Path("Stop"), [&supervisor](CallContext&, pb::StopRequest request) {
        return Stop(supervisor, std::move(request));
      });
}

}  // namespace cleanroom::warden
