// WardenService (proto/cleanroom/internal/v1/warden.proto) on top of a supervisor and its network
// log.
#pragma once

#include "base/async.h"
#include "cleanroom/internal/v1/warden.rpc.h"
#include "warden/network_log.h"
#include "warden/supervisor.h"

namespace cleanroom::warden {

// What it is given outlives it.
class WardenService final : public pb::WardenService {
 public:
  WardenService(Supervisor& supervisor, NetworkLog& network_log)
      : supervisor_(supervisor), network_log_(network_log) {}

 private:
  Awaitable<Result<void>> Launch(rpc::CallContext& call, pb::LaunchRequest request,
                                 rpc::Writer<pb::LaunchEvent>& out) override;
  Awaitable<Result<void>> Prepare(rpc::CallContext& call, pb::PrepareMachineRequest request,
                                  rpc::Writer<pb::LaunchEvent>& out) override;
  Awaitable<Result<pb::MakeTemplateResponse>> MakeTemplate(
      rpc::CallContext& call, pb::MakeTemplateRequest request) override;
  Awaitable<Result<void>> WatchState(rpc::CallContext& call, pb::WatchStateRequest request,
                                     rpc::Writer<pb::WardenState>& out) override;
  Awaitable<Result<pb::AttachResponse>> Attach(rpc::CallContext& call,
                                               pb::AttachRequest request) override;
  Awaitable<Result<pb::StartExecutionResponse>> StartExecution(
      rpc::CallContext& call, pb::StartExecutionRequest request) override;
  Awaitable<Result<void>> AttachExecution(rpc::CallContext& call, rpc::Reader<pb::AttachInput>& in,
                                          rpc::Writer<pb::AttachEvent>& out) override;
  Awaitable<Result<pb::SendInputResponse>> SendInput(rpc::CallContext& call,
                                                     pb::SendInputRequest request) override;
  Awaitable<Result<void>> ReadFile(rpc::CallContext& call, pb::ReadFileRequest request,
                                   rpc::Writer<pb::FileChunk>& out) override;
  Awaitable<Result<pb::PathInfo>> StatPath(rpc::CallContext& call,
                                           pb::StatPathRequest request) override;
  Awaitable<Result<void>> WalkTree(rpc::CallContext& call, pb::WalkTreeRequest request,
                                   rpc::Writer<pb::PathInfos>& out) override;
  Awaitable<Result<pb::WriteFileResult>> WriteFile(rpc::CallContext& call,
                                                   rpc::Reader<pb::WriteFileInput>& in) override;
  Awaitable<Result<pb::RemovePathResult>> RemovePath(rpc::CallContext& call,
                                                     pb::RemovePathRequest request) override;
  Awaitable<Result<void>> ArchivePaths(rpc::CallContext& call, pb::ArchivePathsRequest request,
                                       rpc::Writer<pb::ArchiveChunk>& out) override;
  Awaitable<Result<pb::ExtractArchiveResult>> ExtractArchive(
      rpc::CallContext& call, rpc::Reader<pb::ExtractArchiveInput>& in) override;
  Awaitable<Result<pb::StopResponse>> Stop(rpc::CallContext& call,
                                           pb::StopRequest request) override;
  Awaitable<Result<pb::SetStageResponse>> SetStage(rpc::CallContext& call,
                                                   pb::SetStageRequest request) override;
  Awaitable<Result<void>> WatchNetwork(rpc::CallContext& call, pb::WatchNetworkRequest request,
                                       rpc::Writer<pb::NetworkEvent>& out) override;

  // Inputs of an attachment, until the caller stops sending.
  Awaitable<void> PumpInputs(std::string id, rpc::Reader<pb::AttachInput>& in);

  Supervisor& supervisor_;
  NetworkLog& network_log_;
};

}  // namespace cleanroom::warden
