// SandboxService (proto/cleanroom/v1/sandbox.proto) on top of Sandboxes.
#pragma once

#include <set>
#include <string>

#include "base/async.h"
#include "cleanroom/v1/sandbox.rpc.h"
#include "server/api/sandbox_files.h"
#include "server/network/network_records.h"
#include "server/sandboxes/sandboxes.h"
#include "server/settings.h"

namespace cleanroom::server {

class SandboxService final : public v1::SandboxService {
 public:
  // `capabilities`: what the qemu backend and this control plane enforce together. All outlives it.
  SandboxService(Sandboxes& sandboxes, NetworkRecords& network, Checkouts& checkouts,
                 const Settings& settings, WallClock clock, std::set<std::string> capabilities);

 private:
  Awaitable<Result<v1::CreateSandboxResponse>> CreateSandbox(
      rpc::CallContext& call, v1::CreateSandboxRequest request) override;
  Awaitable<Result<v1::GetSandboxResponse>> GetSandbox(rpc::CallContext& call,
                                                       v1::GetSandboxRequest request) override;
  Awaitable<Result<v1::ListSandboxesResponse>> ListSandboxes(
      rpc::CallContext& call, v1::ListSandboxesRequest request) override;
  Awaitable<Result<v1::TerminateSandboxResponse>> TerminateSandbox(
      rpc::CallContext& call, v1::TerminateSandboxRequest request) override;
  Awaitable<Result<void>> StreamSandboxEvents(rpc::CallContext& call,
                                              v1::StreamSandboxEventsRequest request,
                                              rpc::Writer<v1::SandboxEvent>& out) override;
  Awaitable<Result<void>> CreateSandboxStream(rpc::CallContext& call,
                                              v1::CreateSandboxRequest request,
                                              rpc::Writer<v1::CreateSandboxEvent>& out) override;
  Awaitable<Result<void>> StreamSandboxNetwork(rpc::CallContext& call,
                                               v1::StreamSandboxNetworkRequest request,
                                               rpc::Writer<v1::NetworkDecision>& out) override;

  // Files, which are SandboxFiles'.
  Awaitable<Result<v1::DownloadSandboxFileResponse>> DownloadSandboxFile(
      rpc::CallContext& call, v1::DownloadSandboxFileRequest request) override;
  Awaitable<Result<v1::StatSandboxPathResponse>> StatSandboxPath(
      rpc::CallContext& call, v1::StatSandboxPathRequest request) override;
  Awaitable<Result<void>> WalkSandboxTree(rpc::CallContext& call,
                                          v1::WalkSandboxTreeRequest request,
                                          rpc::Writer<v1::WalkSandboxTreeResponse>& out) override;
  Awaitable<Result<void>> ReadSandboxFile(rpc::CallContext& call,
                                          v1::ReadSandboxFileRequest request,
                                          rpc::Writer<v1::ReadSandboxFileResponse>& out) override;
  Awaitable<Result<v1::WriteSandboxFileResponse>> WriteSandboxFile(
      rpc::CallContext& call, rpc::Reader<v1::WriteSandboxFileRequest>& in) override;
  Awaitable<Result<v1::UploadSandboxFileResponse>> UploadSandboxFile(
      rpc::CallContext& call, v1::UploadSandboxFileRequest request) override;
  Awaitable<Result<v1::RemoveSandboxPathResponse>> RemoveSandboxPath(
      rpc::CallContext& call, v1::RemoveSandboxPathRequest request) override;
  Awaitable<Result<void>> ArchiveSandboxPaths(
      rpc::CallContext& call, v1::ArchiveSandboxPathsRequest request,
      rpc::Writer<v1::ArchiveSandboxPathsResponse>& out) override;
  Awaitable<Result<v1::ExtractSandboxArchiveResponse>> ExtractSandboxArchive(
      rpc::CallContext& call, rpc::Reader<v1::ExtractSandboxArchiveRequest>& in) override;

  struct Begun {
    std::shared_ptr<LiveSandbox> sandbox;
    std::string policy_source;
  };
  // Everything up to the sandbox's record, which is on its way to be made from then on.
  Awaitable<Result<Begun>> Begin(v1::CreateSandboxRequest request, ProgressFn progress);
  Awaitable<Result<v1::CreateSandboxResponse>> Await(Begun begun,
                                                     rpc::Writer<v1::CreateSandboxEvent>* out);

  Sandboxes& sandboxes_;
  SandboxFiles files_;
  NetworkRecords& network_;
  Checkouts& checkouts_;
  const Settings& settings_;
  WallClock clock_;
  std::set<std::string> capabilities_;
};

}  // namespace cleanroom::server
