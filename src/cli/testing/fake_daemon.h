// FakeDaemon: the API's services as a script, for tests of the program's own conduct (streams,
// signals, exit codes) where a machine would only make them slow. Runs on a thread and a unix
// socket of its own.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/async.h"
#include "cleanroom/v1/execution.fake.h"
#include "cleanroom/v1/image.fake.h"
#include "cleanroom/v1/sandbox.fake.h"
#include "cleanroom/v1/system.fake.h"
#include "http/byte_stream.h"
#include "os/file.h"
#include "os/socket.h"
#include "rpc/server.h"

namespace cleanroom::cli {

class FakeDaemon : private v1::FakeSandboxService,
                   private v1::FakeExecutionService,
                   private v1::FakeImageService,
                   private v1::FakeSystemService {
 public:
  FakeDaemon();
  ~FakeDaemon();

  std::string url() const { return "unix://" + folder_.path() + "/daemon.sock"; }
  // Waits until something was noted that starts with `prefix`; false after ten seconds.
  bool WaitFor(const std::string& prefix);
  bool Noted(const std::string& prefix);
  std::string All();

  static constexpr const char* kSandbox = "01kr7p9ksmfa7rmyypyqw2w8r0";
  static constexpr const char* kUnknownSandbox = "01kr7p9ksmfa7rmyypyqw2w8r9";
  static constexpr const char* kExecution = "01kr7pa2m3e5x8j6v4c1t9q0zd";

 private:
  void Note(const std::string& text);
  Awaitable<void> Accept();

  Awaitable<Result<void>> CreateSandboxStream(rpc::CallContext& call,
                                              v1::CreateSandboxRequest request,
                                              rpc::Writer<v1::CreateSandboxEvent>& out) override;
  Awaitable<Result<void>> StreamSandboxNetwork(rpc::CallContext& call,
                                               v1::StreamSandboxNetworkRequest request,
                                               rpc::Writer<v1::NetworkDecision>& out) override;
  Awaitable<Result<v1::ListSandboxesResponse>> ListSandboxes(
      rpc::CallContext& call, v1::ListSandboxesRequest request) override;
  Awaitable<Result<v1::TerminateSandboxResponse>> TerminateSandbox(
      rpc::CallContext& call, v1::TerminateSandboxRequest request) override;
  Awaitable<Result<v1::CreateExecutionResponse>> CreateExecution(
      rpc::CallContext& call, v1::CreateExecutionRequest request) override;
  Awaitable<Result<v1::CancelExecutionResponse>> CancelExecution(
      rpc::CallContext& call, v1::CancelExecutionRequest request) override;
  Awaitable<Result<void>> AttachExecution(rpc::CallContext& call,
                                          rpc::Reader<v1::AttachExecutionRequest>& in,
                                          rpc::Writer<v1::ExecutionStreamEvent>& out) override;
  Awaitable<Result<void>> PullImage(rpc::CallContext& call, v1::PullImageRequest request,
                                    rpc::Writer<v1::ImageEvent>& out) override;
  Awaitable<Result<v1::ResolveImageResponse>> ResolveImage(
      rpc::CallContext& call, v1::ResolveImageRequest request) override;
  Awaitable<Result<void>> WarmUp(rpc::CallContext& call, v1::WarmUpRequest request,
                                 rpc::Writer<v1::WarmUpEvent>& out) override;
  Awaitable<Result<v1::DiskUsageResponse>> DiskUsage(rpc::CallContext& call,
                                                     v1::DiskUsageRequest request) override;
  Awaitable<Result<v1::PruneResponse>> Prune(rpc::CallContext& call,
                                             v1::PruneRequest request) override;

  os::TempDir folder_;
  asio::io_context io_;
  TaskScope scope_;
  asio::local::stream_protocol::acceptor acceptor_;
  Notifier cancelled_;
  bool cancel_ = false;
  bool tty_ = false;
  std::vector<std::string> command_;
  rpc::Router router_;
  rpc::Server server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> notes_;
  std::thread thread_;
};

}  // namespace cleanroom::cli
