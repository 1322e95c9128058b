// SandboxFiles: the file procedures of SandboxService (proto/cleanroom/v1/files.proto) on top of
// Sandboxes.
//
// Checks what a caller asks for, and passes it to the sandbox's warden. What comes back is the
// guest's: it is counted, and what must be text is made valid UTF-8.
#pragma once

#include "base/async.h"
#include "cleanroom/v1/files.pb.h"
#include "rpc/service.h"
#include "server/sandboxes/sandboxes.h"

namespace cleanroom::v1 {
class DownloadSandboxFileRequest;
class DownloadSandboxFileResponse;
}  // namespace cleanroom::v1

namespace cleanroom::server {

// Of data in one message, and of a file in UploadSandboxFile.
inline constexpr size_t kMaxFileData = 1 << 20;
inline constexpr size_t kMaxUpload = 16 << 20;

class SandboxFiles {
 public:
  // Outlives every call.
  explicit SandboxFiles(Sandboxes& sandboxes) : sandboxes_(sandboxes) {}

  Awaitable<Result<v1::DownloadSandboxFileResponse>> Download(
      v1::DownloadSandboxFileRequest request);
  Awaitable<Result<v1::StatSandboxPathResponse>> Stat(v1::StatSandboxPathRequest request);
  Awaitable<Result<void>> Walk(v1::WalkSandboxTreeRequest request,
                               rpc::Writer<v1::WalkSandboxTreeResponse>& out);
  Awaitable<Result<void>> Read(v1::ReadSandboxFileRequest request,
                               rpc::Writer<v1::ReadSandboxFileResponse>& out);
  Awaitable<Result<v1::WriteSandboxFileResponse>> Write(
      rpc::Reader<v1::WriteSandboxFileRequest>& in);
  Awaitable<Result<v1::UploadSandboxFileResponse>> Upload(v1::UploadSandboxFileRequest request);
  Awaitable<Result<v1::RemoveSandboxPathResponse>> Remove(v1::RemoveSandboxPathRequest request);
  Awaitable<Result<void>> Archive(v1::ArchiveSandboxPathsRequest request,
                                  rpc::Writer<v1::ArchiveSandboxPathsResponse>& out);
  Awaitable<Result<v1::ExtractSandboxArchiveResponse>> Extract(
      rpc::Reader<v1::ExtractSandboxArchiveRequest>& in);

 private:
  Sandboxes& sandboxes_;
};

}  // namespace cleanroom::server
