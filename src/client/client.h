// Client: Cleanroom for programs. Plain blocking calls, no Asio in sight.
//
//   CR_TRY_ASSIGN(auto cleanroom, client::Client::FromEnvironment());
//   CR_TRY_ASSIGN(auto policy, client::PolicyFromAllowlist(
//       "ghcr.io/team/base@sha256:...", "", {client::Allow("api.github.com", 443)}));
//   CR_TRY_ASSIGN(auto sandbox, cleanroom.EnsureSandbox("thread:abc123", {.policy = policy}));
//   CR_TRY_ASSIGN(auto result, cleanroom.ExecAndWait(
//       sandbox.sandbox_id(), {"bash", "-lc", "echo hello"},
//       {.on_stdout = [](std::string_view text) { std::cout << text; }}));
//   return result.exit_code;
//
// Messages are those of cleanroom.v1. Errors carry the stable codes (base/error.h); names.h
// classifies them. The first call connects; one that finds the connection broken connects anew. One
// thread at a time may use a Client.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cleanroom/v1/execution.pb.h"
#include "cleanroom/v1/files.pb.h"
#include "cleanroom/v1/image.pb.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "cleanroom/v1/system.pb.h"
#include "client/connect_options.h"
#include "client/names.h"
#include "client/policy.h"

namespace cleanroom::client {

struct EnsureSandboxOptions {
  std::string backend;  // empty: the daemon's default
  v1::SandboxOptions options;
  v1::Policy policy;
};

// Sinks get output as it arrives and are not called concurrently; a slow one holds the command
// back.
using Sink = std::function<void(std::string_view)>;

struct ExecOptions {
  Sink on_stdout{};
  Sink on_stderr{};
  // The command's standard input; it reads end of file after it.
  std::string stdin_data{};
  std::vector<std::string> env{};   // "KEY=VALUE" each
  std::string workdir{};            // absolute; empty: the image's
  std::string user{};               // empty: the image's
  std::chrono::seconds timeout{0};  // ends the command with exit code 124; 0: no limit
};

struct ExecResult {
  std::string execution_id;
  int exit_code = 0;  // the command's own, 128 + signal, 126, 127 or 124
  ExecutionStatus status = v1::EXECUTION_STATUS_UNSPECIFIED;
  std::string message;  // why, where the exit code does not say it
};

using ProgressSink = std::function<void(const v1::Progress&)>;
// The next bytes of an archive or a file; empty at the end.
using ArchiveSource = std::function<Result<std::string>()>;

class Client {
 public:
  // See environment.h for what it reads. Does not connect yet.
  static Result<Client> FromEnvironment();
  static Result<Client> Create(ConnectOptions options);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // A READY sandbox that lasts under a key of the caller's choice: the one made for `key` before,
  // while it is READY, else a new one. Keys are kept per user in the state folder, and a lock makes
  // callers with one key take turns. policy_conflict when the sandbox under the key runs under
  // another policy.
  Result<v1::Sandbox> EnsureSandbox(std::string_view key, const EnsureSandboxOptions& options);

  // Runs a command to its end. A command that fails is no error: see the exit code.
  Result<ExecResult> ExecAndWait(std::string_view sandbox_id, const std::vector<std::string>& argv,
                                 const ExecOptions& options = {});

  Result<v1::CreateSandboxResponse> CreateSandbox(const v1::CreateSandboxRequest& request,
                                                  const ProgressSink& progress = nullptr);
  Result<v1::GetSandboxResponse> GetSandbox(const v1::GetSandboxRequest& request);
  Result<v1::ListSandboxesResponse> ListSandboxes(const v1::ListSandboxesRequest& request);
  Result<v1::DownloadSandboxFileResponse> DownloadSandboxFile(
      const v1::DownloadSandboxFileRequest& request);
  // Files of a sandbox, as cleanroom/v1/files.proto says. Sinks are called until the stream ends or
  // they return false.
  Result<v1::StatSandboxPathResponse> StatSandboxPath(const v1::StatSandboxPathRequest& request);
  Result<void> WalkSandboxTree(const v1::WalkSandboxTreeRequest& request,
                               const std::function<bool(const v1::SandboxPathInfo&)>& sink);
  Result<void> ReadSandboxFile(const v1::ReadSandboxFileRequest& request,
                               const std::function<bool(std::string_view)>& sink);
  Result<v1::WriteSandboxFileResponse> WriteSandboxFile(const v1::WriteSandboxFileInit& init,
                                                        const ArchiveSource& source);
  Result<v1::UploadSandboxFileResponse> UploadSandboxFile(
      const v1::UploadSandboxFileRequest& request);
  Result<v1::RemoveSandboxPathResponse> RemoveSandboxPath(
      const v1::RemoveSandboxPathRequest& request);
  // A tar, in pieces.
  Result<void> ArchiveSandboxPaths(const v1::ArchiveSandboxPathsRequest& request,
                                   const std::function<bool(std::string_view)>& sink);
  Result<v1::ExtractSandboxArchiveResponse> ExtractSandboxArchive(
      const v1::ExtractSandboxArchiveInit& init, const ArchiveSource& source);
  Result<v1::TerminateSandboxResponse> TerminateSandbox(const v1::TerminateSandboxRequest& request);
  // Until the stream ends or `sink` returns false.
  Result<void> StreamSandboxEvents(const v1::StreamSandboxEventsRequest& request,
                                   const std::function<bool(const v1::SandboxEvent&)>& sink);

  // What the sandbox reached and what it was refused; until the stream ends or `sink` returns
  // false.
  Result<void> StreamSandboxNetwork(const v1::StreamSandboxNetworkRequest& request,
                                    const std::function<bool(const v1::NetworkDecision&)>& sink);

  Result<v1::CreateExecutionResponse> CreateExecution(const v1::CreateExecutionRequest& request);
  Result<v1::GetExecutionResponse> GetExecution(const v1::GetExecutionRequest& request);
  Result<v1::ListExecutionsResponse> ListExecutions(const v1::ListExecutionsRequest& request);
  Result<v1::GetExecutionResponse> InspectExecution(const v1::GetExecutionRequest& request);
  Result<v1::CancelExecutionResponse> CancelExecution(const v1::CancelExecutionRequest& request);
  Result<v1::WriteExecutionStdinResponse> WriteExecutionStdin(
      const v1::WriteExecutionStdinRequest& request);
  Result<v1::CloseExecutionStdinResponse> CloseExecutionStdin(
      const v1::CloseExecutionStdinRequest& request);
  Result<void> StreamExecution(const v1::StreamExecutionRequest& request,
                               const std::function<bool(const v1::ExecutionStreamEvent&)>& sink);

  Result<v1::Image> PullImage(const v1::PullImageRequest& request,
                              const ProgressSink& progress = nullptr);
  Result<v1::Image> ImportImage(const std::string& ref, const ArchiveSource& source,
                                const ProgressSink& progress = nullptr);
  Result<v1::ListImagesResponse> ListImages();
  Result<v1::RemoveImageResponse> RemoveImage(const v1::RemoveImageRequest& request);
  Result<v1::ResolveImageResponse> ResolveImage(const v1::ResolveImageRequest& request);
  Result<v1::GetVersionResponse> GetVersion();
  Result<v1::DoctorResponse> Doctor();
  // Makes ready what sandboxes of this kind start from: the image and the template.
  Result<v1::Template> WarmUp(const v1::WarmUpRequest& request,
                              const ProgressSink& progress = nullptr);
  Result<v1::DiskUsageResponse> DiskUsage();
  Result<v1::PruneResponse> Prune(const v1::PruneRequest& request);

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cleanroom::client
