// GuestService (proto/cleanroom/internal/v1/guest.proto), on the parts of this module.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "base/async.h"
#include "cleanroom/internal/v1/guest.rpc.h"
#include "guest/exec/cgroup.h"
#include "guest/exec/command.h"
#include "guest/exec/reaper.h"
#include "guest/machine/machine.h"
#include "guest/serve/file_calls.h"

namespace cleanroom::guest {

struct ServiceConfig {
  std::string ptmx_path;
  std::string cgroup_path;
  std::string version;
  bool change_user = true;  // see SpawnRequest
};

class Execution;

// One per process; belongs to one thread. What it is given outlives it.
class GuestService final : public internal::v1::GuestService {
 public:
  GuestService(asio::any_io_executor executor, Machine& machine, Reaper& reaper,
               ServiceConfig config);

  // The root of a machine that was prepared at its boot; before any call.
  void UsePrepared(Root root) { root_.emplace(std::move(root)); }

  // True once Shutdown has ended every command and left the disk clean: the power may go.
  bool ended() const { return ended_; }
  // Notified when that happens, which is just before the answer is sent.
  Notifier& end() { return end_; }

 private:
  Awaitable<Result<internal::v1::ConfigureResponse>> Configure(
      rpc::CallContext& call, internal::v1::ConfigureRequest request) override;
  Awaitable<Result<internal::v1::AdjustClockResponse>> AdjustClock(
      rpc::CallContext& call, internal::v1::AdjustClockRequest request) override;
  Awaitable<Result<internal::v1::MountResponse>> Mount(rpc::CallContext& call,
                                                       internal::v1::MountRequest request) override;
  Awaitable<Result<void>> Exec(rpc::CallContext& call, rpc::Reader<internal::v1::ExecInput>& in,
                               rpc::Writer<internal::v1::ExecOutput>& out) override;
  Awaitable<Result<internal::v1::ControlResponse>> Control(
      rpc::CallContext& call, internal::v1::ControlRequest request) override;
  Awaitable<Result<internal::v1::PingResponse>> Ping(rpc::CallContext& call,
                                                     internal::v1::PingRequest request) override;
  Awaitable<Result<void>> ReadFile(rpc::CallContext& call, internal::v1::ReadFileRequest request,
                                   rpc::Writer<internal::v1::FileChunk>& out) override;
  Awaitable<Result<internal::v1::PathInfo>> StatPath(
      rpc::CallContext& call, internal::v1::StatPathRequest request) override;
  Awaitable<Result<void>> WalkTree(rpc::CallContext& call, internal::v1::WalkTreeRequest request,
                                   rpc::Writer<internal::v1::PathInfos>& out) override;
  Awaitable<Result<internal::v1::WriteFileResult>> WriteFile(
      rpc::CallContext& call, rpc::Reader<internal::v1::WriteFileInput>& in) override;
  Awaitable<Result<internal::v1::RemovePathResult>> RemovePath(
      rpc::CallContext& call, internal::v1::RemovePathRequest request) override;
  Awaitable<Result<void>> ArchivePaths(rpc::CallContext& call,
                                       internal::v1::ArchivePathsRequest request,
                                       rpc::Writer<internal::v1::ArchiveChunk>& out) override;
  Awaitable<Result<internal::v1::ExtractArchiveResult>> ExtractArchive(
      rpc::CallContext& call, rpc::Reader<internal::v1::ExtractArchiveInput>& in) override;
  Awaitable<Result<internal::v1::ShutdownResponse>> Shutdown(
      rpc::CallContext& call, internal::v1::ShutdownRequest request) override;

  Result<void> CheckUsable() const;
  // Files as the image's user has them.
  Result<FileCalls> Files();
  Awaitable<void> WaitForNoProcess(std::chrono::milliseconds timeout);

  asio::any_io_executor executor_;
  Machine& machine_;
  Reaper& reaper_;
  const ServiceConfig config_;
  CgroupTree cgroups_;
  Notifier end_;
  bool configure_called_ = false;
  bool stopping_ = false;
  bool ended_ = false;
  std::optional<Root> root_;  // once prepared
  CommandDefaults defaults_;
  Accounts accounts_;
  std::map<std::string, Execution*, std::less<>> executions_;  // those with a name
};

}  // namespace cleanroom::guest
