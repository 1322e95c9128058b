#include "warden/service.h"

#include <string>
#include <utility>

#include "warden/file_relay.h"

namespace cleanroom::warden {

Awaitable<Result<void>> WardenService::Launch(rpc::CallContext&, pb::LaunchRequest request,
                                              rpc::Writer<pb::LaunchEvent>& out) {
  return supervisor_.Launch(std::move(request), out);
}

Awaitable<Result<void>> WardenService::Prepare(rpc::CallContext&, pb::PrepareMachineRequest request,
                                               rpc::Writer<pb::LaunchEvent>& out) {
  return supervisor_.Prepare(std::move(request), out);
}

Awaitable<Result<pb::AttachResponse>> WardenService::Attach(rpc::CallContext&,
                                                            pb::AttachRequest request) {
  auto attached = co_await supervisor_.Attach(std::move(request));
  if (!attached) co_return Err(std::move(attached).error());
  co_return pb::AttachResponse();
}

Awaitable<Result<pb::StartExecutionResponse>> WardenService::StartExecution(
    rpc::CallContext&, pb::StartExecutionRequest request) {
  auto started = supervisor_.StartExecution(std::move(request));
  if (!started) co_return Err(std::move(started).error());
  co_return pb::StartExecutionResponse();
}

Awaitable<Result<pb::SetStageResponse>> WardenService::SetStage(rpc::CallContext&,
                                                                pb::SetStageRequest request) {
  auto set = supervisor_.SetStage(request);
  if (!set) co_return Err(std::move(set).error());
  co_return pb::SetStageResponse();
}

Awaitable<Result<pb::SendInputResponse>> WardenService::SendInput(rpc::CallContext&,
                                                                  pb::SendInputRequest request) {
  const std::string id = request.execution_id();
  auto sent = co_await supervisor_.Input(id, std::move(*request.mutable_input()));
  if (!sent) co_return Err(std::move(sent).error());
  co_return pb::SendInputResponse();
}

Awaitable<Result<pb::StopResponse>> WardenService::Stop(rpc::CallContext&,
                                                        pb::StopRequest request) {
  co_await supervisor_.Stop(std::chrono::milliseconds(request.grace_ms()));
  co_return pb::StopResponse();
}

Awaitable<Result<pb::MakeTemplateResponse>> WardenService::MakeTemplate(
    rpc::CallContext&, pb::MakeTemplateRequest request) {
  auto made = co_await supervisor_.MakeTemplate(std::move(request));
  if (!made) co_return Err(std::move(made).error());
  co_return pb::MakeTemplateResponse();
}

Awaitable<void> WardenService::PumpInputs(std::string id, rpc::Reader<pb::AttachInput>& in) {
  while (true) {
    auto next = co_await in.Next();
    if (!next || !*next) co_return;
    pb::AttachInput message = **std::move(next);
    if (message.input().input_case() == pb::ExecInput::INPUT_NOT_SET) continue;
    auto sent = co_await supervisor_.Input(id, std::move(*message.mutable_input()));
    // Input for a command that has ended is not an error of the attachment, which ends by itself.
    if (!sent && sent.error().code() == ErrorCode::kCanceled) co_return;
  }
}

Awaitable<Result<void>> WardenService::AttachExecution(rpc::CallContext&,
                                                       rpc::Reader<pb::AttachInput>& in,
                                                       rpc::Writer<pb::AttachEvent>& out) {
  auto first = co_await in.Next();
  if (!first) co_return Err(std::move(first).error());
  if (!*first)
    co_return Err(ErrorCode::kInvalidArgument, "an attachment begins with the execution's id");
  pb::AttachInput opening = **std::move(first);
  auto execution = supervisor_.FindExecution(opening.execution_id());
  if (!execution) co_return Err(std::move(execution).error());
  if (opening.input().input_case() != pb::ExecInput::INPUT_NOT_SET) {
    auto sent =
        co_await supervisor_.Input(opening.execution_id(), std::move(*opening.mutable_input()));
    if (!sent) co_return Err(std::move(sent).error());
  }

  const auto executor = co_await asio::this_coro::executor;
  TaskScope inputs(executor);
  inputs.Spawn(PumpInputs(opening.execution_id(), in));
  auto followed = co_await (*execution)->Follow(opening.offset(), opening.follow(), out);
  inputs.Cancel();
  co_await inputs.Join();
  co_return followed;
}

Awaitable<Result<void>> WardenService::WatchState(rpc::CallContext&, pb::WatchStateRequest,
                                                  rpc::Writer<pb::WardenState>& out) {
  return supervisor_.WatchState(out);
}

Awaitable<Result<void>> WardenService::ReadFile(rpc::CallContext&, pb::ReadFileRequest request,
                                                rpc::Writer<pb::FileChunk>& out) {
  return supervisor_.ReadFile(std::move(request), out);
}

Awaitable<Result<pb::PathInfo>> WardenService::StatPath(rpc::CallContext&,
                                                        pb::StatPathRequest request) {
  CR_CO_TRY_ASSIGN(auto agent, supervisor_.ReadyAgent());
  FileRelay relay(std::move(agent), supervisor_.guest_watch());
  auto done = co_await relay.Stat(std::move(request));
  co_return done;
}

Awaitable<Result<void>> WardenService::WalkTree(rpc::CallContext&, pb::WalkTreeRequest request,
                                                rpc::Writer<pb::PathInfos>& out) {
  CR_CO_TRY_ASSIGN(auto agent, supervisor_.ReadyAgent());
  FileRelay relay(std::move(agent), supervisor_.guest_watch());
  auto done = co_await relay.Walk(std::move(request), out);
  co_return done;
}

Awaitable<Result<pb::WriteFileResult>> WardenService::WriteFile(
    rpc::CallContext&, rpc::Reader<pb::WriteFileInput>& in) {
  CR_CO_TRY_ASSIGN(auto agent, supervisor_.ReadyAgent());
  FileRelay relay(std::move(agent), supervisor_.guest_watch());
  auto done = co_await relay.Write(in);
  co_return done;
}

Awaitable<Result<pb::RemovePathResult>> WardenService::RemovePath(rpc::CallContext&,
                                                                  pb::RemovePathRequest request) {
  CR_CO_TRY_ASSIGN(auto agent, supervisor_.ReadyAgent());
  FileRelay relay(std::move(agent), supervisor_.guest_watch());
  auto done = co_await relay.Remove(std::move(request));
  co_return done;
}

Awaitable<Result<void>> WardenService::ArchivePaths(rpc::CallContext&,
                                                    pb::ArchivePathsRequest request,
                                                    rpc::Writer<pb::ArchiveChunk>& out) {
  CR_CO_TRY_ASSIGN(auto agent, supervisor_.ReadyAgent());
  FileRelay relay(std::move(agent), supervisor_.guest_watch());
  auto done = co_await relay.Archive(std::move(request), out);
  co_return done;
}

Awaitable<Result<pb::ExtractArchiveResult>> WardenService::ExtractArchive(
    rpc::CallContext&, rpc::Reader<pb::ExtractArchiveInput>& in) {
  CR_CO_TRY_ASSIGN(auto agent, supervisor_.ReadyAgent());
  FileRelay relay(std::move(agent), supervisor_.guest_watch());
  auto done = co_await relay.Extract(in);
  co_return done;
}

Awaitable<Result<void>> WardenService::WatchNetwork(rpc::CallContext&,
                                                    pb::WatchNetworkRequest request,
                                                    rpc::Writer<pb::NetworkEvent>& out) {
  return network_log_.Watch(std::move(request), out);
}

}  // namespace cleanroom::warden
