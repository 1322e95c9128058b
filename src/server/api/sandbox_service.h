// SandboxService (proto/cleanroom/v1/sandbox.proto) on top of Sandboxes.
#pragma once

#include <set>
#include <string>

#include "base/async.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "rpc/service.h"
#include "server/network/network_records.h"
#include "server/sandboxes/sandboxes.h"
#include "server/settings.h"

namespace cleanroom::server {

class SandboxService {
 public:
  // `capabilities`: what the qemu backend and this control plane enforce together. All outlives it.
  SandboxService(Sandboxes& sandboxes, NetworkRecords& network, const Settings& settings,
                 WallClock clock, std::set<std::string> capabilities);
  void Register(rpc::Router& router);

 private:
  Result<LaunchPlan> Plan(const v1::CreateSandboxRequest& request) const;
  Awaitable<Result<v1::CreateSandboxResponse>> Create(v1::CreateSandboxRequest request);
  Awaitable<Result<void>> CreateStream(v1::CreateSandboxRequest request,
                                       rpc::Writer<v1::CreateSandboxEvent>& out);
  Awaitable<Result<v1::CreateSandboxResponse>> Await(std::shared_ptr<LiveSandbox> sandbox,
                                                     rpc::Writer<v1::CreateSandboxEvent>* out);
  Awaitable<Result<v1::GetSandboxResponse>> Get(v1::GetSandboxRequest request);
  Awaitable<Result<v1::ListSandboxesResponse>> List(v1::ListSandboxesRequest request);
  Awaitable<Result<v1::TerminateSandboxResponse>> Terminate(v1::TerminateSandboxRequest request);
  Awaitable<Result<v1::DownloadSandboxFileResponse>> Download(
      v1::DownloadSandboxFileRequest request);

  Sandboxes& sandboxes_;
  NetworkRecords& network_;
  const Settings& settings_;
  WallClock clock_;
  std::set<std::string> capabilities_;
};

}  // namespace cleanroom::server
