// Api: every call of cleanroom.v1 with its types, as coroutines over one channel. The CLI uses it
// directly; programs that want plain blocking calls use client.h.
#pragma once

#include <string>

#include "base/async.h"
#include "cleanroom/v1/execution.pb.h"
#include "cleanroom/v1/image.pb.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "cleanroom/v1/system.pb.h"
#include "rpc/client.h"

namespace cleanroom::client {

// Belongs to the channel's thread; the channel must outlive it and every call under way.
class Api {
 public:
  template <typename Resp>
  using Reply = Awaitable<Result<Resp>>;
  // A server stream: the request has been sent, read with Next.
  template <typename Req, typename Event>
  using Events = Awaitable<Result<rpc::ClientStream<Req, Event>>>;

  explicit Api(rpc::Channel& channel) : channel_(channel) {}

  Reply<v1::CreateSandboxResponse> CreateSandbox(v1::CreateSandboxRequest request);
  Events<v1::CreateSandboxRequest, v1::CreateSandboxEvent> CreateSandboxStream(
      v1::CreateSandboxRequest request);
  Reply<v1::GetSandboxResponse> GetSandbox(v1::GetSandboxRequest request);
  Reply<v1::ListSandboxesResponse> ListSandboxes(v1::ListSandboxesRequest request);
  Reply<v1::DownloadSandboxFileResponse> DownloadSandboxFile(
      v1::DownloadSandboxFileRequest request);
  Reply<v1::TerminateSandboxResponse> TerminateSandbox(v1::TerminateSandboxRequest request);
  Events<v1::StreamSandboxEventsRequest, v1::SandboxEvent> StreamSandboxEvents(
      v1::StreamSandboxEventsRequest request);
  Events<v1::StreamSandboxNetworkRequest, v1::NetworkDecision> StreamSandboxNetwork(
      v1::StreamSandboxNetworkRequest request);

  Reply<v1::CreateExecutionResponse> CreateExecution(v1::CreateExecutionRequest request);
  Reply<v1::GetExecutionResponse> GetExecution(v1::GetExecutionRequest request);
  Reply<v1::ListExecutionsResponse> ListExecutions(v1::ListExecutionsRequest request);
  Reply<v1::GetExecutionResponse> InspectExecution(v1::GetExecutionRequest request);
  Reply<v1::CancelExecutionResponse> CancelExecution(v1::CancelExecutionRequest request);
  Events<v1::StreamExecutionRequest, v1::ExecutionStreamEvent> StreamExecution(
      v1::StreamExecutionRequest request);
  Reply<v1::WriteExecutionStdinResponse> WriteExecutionStdin(
      v1::WriteExecutionStdinRequest request);
  Reply<v1::CloseExecutionStdinResponse> CloseExecutionStdin(
      v1::CloseExecutionStdinRequest request);
  // Nothing is sent yet: the first message must name the execution.
  Events<v1::AttachExecutionRequest, v1::ExecutionStreamEvent> AttachExecution();

  Events<v1::PullImageRequest, v1::ImageEvent> PullImage(v1::PullImageRequest request);
  // Nothing is sent yet: the first message must name the image.
  Events<v1::ImportImageRequest, v1::ImageEvent> ImportImage();
  Reply<v1::ListImagesResponse> ListImages(v1::ListImagesRequest request);
  Reply<v1::RemoveImageResponse> RemoveImage(v1::RemoveImageRequest request);
  Reply<v1::ResolveImageResponse> ResolveImage(v1::ResolveImageRequest request);

  Reply<v1::GetVersionResponse> GetVersion(v1::GetVersionRequest request);
  Reply<v1::DoctorResponse> Doctor(v1::DoctorRequest request);
  Events<v1::WarmUpRequest, v1::WarmUpEvent> WarmUp(v1::WarmUpRequest request);
  Reply<v1::DiskUsageResponse> DiskUsage(v1::DiskUsageRequest request);
  Reply<v1::PruneResponse> Prune(v1::PruneRequest request);

  rpc::Channel& channel() { return channel_; }

 private:
  rpc::Channel& channel_;
};

}  // namespace cleanroom::client
