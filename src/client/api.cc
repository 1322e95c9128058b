#include "client/api.h"

#include <utility>

namespace cleanroom::client {

Api::Reply<v1::CreateSandboxResponse> Api::CreateSandbox(v1::CreateSandboxRequest request) {
  return channel_.Call<v1::CreateSandboxResponse>("/cleanroom.v1.SandboxService/CreateSandbox",
                                                  std::move(request));
}

Api::Events<v1::CreateSandboxRequest, v1::CreateSandboxEvent> Api::CreateSandboxStream(
    v1::CreateSandboxRequest request) {
  return channel_.CallServerStream<v1::CreateSandboxEvent>(
      "/cleanroom.v1.SandboxService/CreateSandboxStream", std::move(request));
}

Api::Reply<v1::GetSandboxResponse> Api::GetSandbox(v1::GetSandboxRequest request) {
  return channel_.Call<v1::GetSandboxResponse>("/cleanroom.v1.SandboxService/GetSandbox",
                                               std::move(request));
}

Api::Reply<v1::ListSandboxesResponse> Api::ListSandboxes(v1::ListSandboxesRequest request) {
  return channel_.Call<v1::ListSandboxesResponse>("/cleanroom.v1.SandboxService/ListSandboxes",
                                                  std::move(request));
}

Api::Reply<v1::DownloadSandboxFileResponse> Api::DownloadSandboxFile(
    v1::DownloadSandboxFileRequest request) {
  return channel_.Call<v1::DownloadSandboxFileResponse>(
      "/cleanroom.v1.SandboxService/DownloadSandboxFile", std::move(request));
}

Api::Reply<v1::TerminateSandboxResponse> Api::TerminateSandbox(
    v1::TerminateSandboxRequest request) {
  return channel_.Call<v1::TerminateSandboxResponse>(
      "/cleanroom.v1.SandboxService/TerminateSandbox", std::move(request));
}

Api::Events<v1::StreamSandboxEventsRequest, v1::SandboxEvent> Api::StreamSandboxEvents(
    v1::StreamSandboxEventsRequest request) {
  return channel_.CallServerStream<v1::SandboxEvent>(
      "/cleanroom.v1.SandboxService/StreamSandboxEvents", std::move(request));
}

Api::Events<v1::StreamSandboxNetworkRequest, v1::NetworkDecision> Api::StreamSandboxNetwork(
    v1::StreamSandboxNetworkRequest request) {
  return channel_.CallServerStream<v1::NetworkDecision>(
      "/cleanroom.v1.SandboxService/StreamSandboxNetwork", std::move(request));
}

Api::Reply<v1::CreateExecutionResponse> Api::CreateExecution(v1::CreateExecutionRequest request) {
  return channel_.Call<v1::CreateExecutionResponse>(
      "/cleanroom.v1.ExecutionService/CreateExecution", std::move(request));
}

Api::Reply<v1::GetExecutionResponse> Api::GetExecution(v1::GetExecutionRequest request) {
  return channel_.Call<v1::GetExecutionResponse>("/cleanroom.v1.ExecutionService/GetExecution",
                                                 std::move(request));
}

Api::Reply<v1::ListExecutionsResponse> Api::ListExecutions(v1::ListExecutionsRequest request) {
  return channel_.Call<v1::ListExecutionsResponse>("/cleanroom.v1.ExecutionService/ListExecutions",
                                                   std::move(request));
}

Api::Reply<v1::GetExecutionResponse> Api::InspectExecution(v1::GetExecutionRequest request) {
  return channel_.Call<v1::GetExecutionResponse>("/cleanroom.v1.ExecutionService/InspectExecution",
                                                 std::move(request));
}

Api::Reply<v1::CancelExecutionResponse> Api::CancelExecution(v1::CancelExecutionRequest request) {
  return channel_.Call<v1::CancelExecutionResponse>(
      "/cleanroom.v1.ExecutionService/CancelExecution", std::move(request));
}

Api::Events<v1::StreamExecutionRequest, v1::ExecutionStreamEvent> Api::StreamExecution(
    v1::StreamExecutionRequest request) {
  return channel_.CallServerStream<v1::ExecutionStreamEvent>(
      "/cleanroom.v1.ExecutionService/StreamExecution", std::move(request));
}

Api::Reply<v1::WriteExecutionStdinResponse> Api::WriteExecutionStdin(
    v1::WriteExecutionStdinRequest request) {
  return channel_.Call<v1::WriteExecutionStdinResponse>(
      "/cleanroom.v1.ExecutionService/WriteExecutionStdin", std::move(request));
}

Api::Reply<v1::CloseExecutionStdinResponse> Api::CloseExecutionStdin(
    v1::CloseExecutionStdinRequest request) {
  return channel_.Call<v1::CloseExecutionStdinResponse>(
      "/cleanroom.v1.ExecutionService/CloseExecutionStdin", std::move(request));
}

Api::Events<v1::AttachExecutionRequest, v1::ExecutionStreamEvent> Api::AttachExecution() {
  return channel_.Open<v1::AttachExecutionRequest, v1::ExecutionStreamEvent>(
      "/cleanroom.v1.ExecutionService/AttachExecution", rpc::Shape::kBidi);
}

Api::Events<v1::PullImageRequest, v1::ImageEvent> Api::PullImage(v1::PullImageRequest request) {
  return channel_.CallServerStream<v1::ImageEvent>("/cleanroom.v1.ImageService/PullImage",
                                                   std::move(request));
}

Api::Events<v1::ImportImageRequest, v1::ImageEvent> Api::ImportImage() {
  return channel_.Open<v1::ImportImageRequest, v1::ImageEvent>(
      "/cleanroom.v1.ImageService/ImportImage", rpc::Shape::kBidi);
}

Api::Reply<v1::ListImagesResponse> Api::ListImages(v1::ListImagesRequest request) {
  return channel_.Call<v1::ListImagesResponse>("/cleanroom.v1.ImageService/ListImages",
                                               std::move(request));
}

Api::Reply<v1::RemoveImageResponse> Api::RemoveImage(v1::RemoveImageRequest request) {
  return channel_.Call<v1::RemoveImageResponse>("/cleanroom.v1.ImageService/RemoveImage",
                                                std::move(request));
}

Api::Reply<v1::ResolveImageResponse> Api::ResolveImage(v1::ResolveImageRequest request) {
  return channel_.Call<v1::ResolveImageResponse>("/cleanroom.v1.ImageService/ResolveImage",
                                                 std::move(request));
}

Api::Reply<v1::GetVersionResponse> Api::GetVersion(v1::GetVersionRequest request) {
  return channel_.Call<v1::GetVersionResponse>("/cleanroom.v1.SystemService/GetVersion",
                                               std::move(request));
}

Api::Reply<v1::DoctorResponse> Api::Doctor(v1::DoctorRequest request) {
  return channel_.Call<v1::DoctorResponse>("/cleanroom.v1.SystemService/Doctor",
                                           std::move(request));
}

Api::Events<v1::WarmUpRequest, v1::WarmUpEvent> Api::WarmUp(v1::WarmUpRequest request) {
  return channel_.CallServerStream<v1::WarmUpEvent>("/cleanroom.v1.SystemService/WarmUp",
                                                    std::move(request));
}

Api::Reply<v1::DiskUsageResponse> Api::DiskUsage(v1::DiskUsageRequest request) {
  return channel_.Call<v1::DiskUsageResponse>("/cleanroom.v1.SystemService/DiskUsage",
                                              std::move(request));
}

Api::Reply<v1::PruneResponse> Api::Prune(v1::PruneRequest request) {
  return channel_.Call<v1::PruneResponse>("/cleanroom.v1.SystemService/Prune", std::move(request));
}

}  // namespace cleanroom::client
