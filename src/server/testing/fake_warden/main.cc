// A warden without a machine: the real link, the real records of output, and faults on demand.
//
// Launch, by kernel_path: "fail" answers an error, "fail-copy" and "fail-host" do when a template
// is to be copied, after and before the machine is started, "hang" never answers, "die" ends the
// process; else it is ready. Commands, by argv[0]: "say" writes argv[1] and exits 0; "exit" exits
// with argv[1]; "wait" goes on until a signal; "die" ends the process; "refuse" is refused the
// hosts that follow and exits 0; "refuse-wait" goes on until a signal after that; "allow" reaches
// them. Files are those of a guest whose root is the folder "files" beside its own.
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>

#include "base/async.h"
#include "cleanroom/internal/v1/warden.fake.h"
#include "doors/rules/rules.h"
#include "guest/files/root.h"
#include "guest/serve/file_calls.h"
#include "http/byte_stream.h"
#include "rpc/server.h"
#include "warden/network_log.h"
#include "warden_link/spool.h"

namespace cleanroom::warden {
namespace {

namespace pb = ::cleanroom::internal::v1;

guest::Root MakeRoot() {
  (void)mkdir("files", 0700);
  return *guest::Root::Open("files");
}

struct FakeWarden final : pb::FakeWardenService {
  explicit FakeWarden(asio::any_io_executor executor)
      : changed(executor), network(executor, std::filesystem::current_path()) {}

  Awaitable<Result<void>> Launch(rpc::CallContext&, pb::LaunchRequest request,
                                 rpc::Writer<pb::LaunchEvent>& out) override {
    if (request.machine().kernel_path() == "die") _exit(9);
    pb::LaunchEvent begun;
    begun.mutable_begun();
    if (request.machine().kernel_path() == "fail-copy" && request.machine().has_copy()) {
      auto told = co_await out.Write(begun);
      if (!told) co_return told;
      co_return Err(ErrorCode::kRuntimeLaunchFailed, "the fake copy is broken");
    }
    if (request.machine().kernel_path() == "fail-host" && request.machine().has_copy()) {
      co_return Err(ErrorCode::kInternal, "the fake host has no namespace to give");
    }
    if (request.machine().kernel_path() == "fail")
      co_return Err(ErrorCode::kRuntimeLaunchFailed, "the fake machine is broken");
    while (request.machine().kernel_path() == "hang") {
      co_await changed.Wait();
      const bool cancelled = co_await Cancelled();
      if (cancelled) co_return Err(ErrorCode::kCanceled, "cancelled");
    }
    pb::LaunchEvent event;
    event.mutable_phase()->set_name("boot");
    event.mutable_phase()->set_milliseconds(1);
    auto written = co_await out.Write(event);
    if (!written) co_return written;
    event.mutable_ready();
    written = co_await out.Write(event);
    co_return written;
  }
  Awaitable<Result<void>> WatchState(rpc::CallContext&, pb::WatchStateRequest,
                                     rpc::Writer<pb::WardenState>& out) override {
    pb::WardenState state;
    state.set_phase(pb::WardenState::PHASE_READY);
    auto written = co_await out.Write(state);
    while (written) {
      co_await changed.Wait();
      const bool cancelled = co_await Cancelled();
      if (cancelled) break;
    }
    co_return Result<void>();
  }
  Awaitable<Result<pb::AttachResponse>> Attach(rpc::CallContext&,
                                               pb::AttachRequest request) override {
    std::ofstream("attached") << request.folders(0).target() << " " << request.folders(0).layers();
    co_return pb::AttachResponse();
  }
  Awaitable<Result<pb::StartExecutionResponse>> StartExecution(
      rpc::CallContext&, pb::StartExecutionRequest request) override {
    CR_CO_TRY_ASSIGN(auto spool, warden_link::SpoolWriter::Create("executions/" +
                                                                  request.execution_id() + ".log"));
    const auto& argv = request.start().argv();
    auto [place, fresh] = spools.emplace(request.execution_id(), std::move(spool));
    if (argv[0] == "die") _exit(9);
    network.ExecutionStarted(request.execution_id());
    if (argv[0] == "refuse" || argv[0] == "refuse-wait" || argv[0] == "allow") {
      for (int i = 1; i < argv.size(); ++i) Decide(argv[i], argv[0] == "allow");
    }
    if (argv[0] == "say") (void)place->second.Append(warden_link::FrameKind::kStdout, argv[1]);
    if (argv[0] == "wait" || argv[0] == "refuse-wait") {
      (void)place->second.Append(warden_link::FrameKind::kStdout, "waiting");
    } else {
      End(request.execution_id(), pb::ExecutionEnd::CAUSE_EXITED,
          argv[0] == "exit" ? std::stoi(argv[1]) : 0, 0);
    }
    co_return pb::StartExecutionResponse();
  }
  Awaitable<Result<void>> AttachExecution(rpc::CallContext&, rpc::Reader<pb::AttachInput>& in,
                                          rpc::Writer<pb::AttachEvent>& out) override {
    auto first = co_await in.Next();
    if (!first || !*first) co_return Err(ErrorCode::kInvalidArgument, "nothing to attach to");
    const int64_t offset = std::max((*first)->offset(), warden_link::kSpoolStart);
    CR_CO_TRY_ASSIGN(auto reader, warden_link::SpoolReader::Open(
                                      "executions/" + (*first)->execution_id() + ".log", offset));
    for (;;) {
      CR_CO_TRY_ASSIGN(const auto frame, reader.Next());
      if (frame) {
        pb::AttachEvent event;
        event.set_offset(frame->next_offset);
        event.set_time_us(frame->time_us);
        if (frame->kind == warden_link::FrameKind::kStdout) event.set_stdout(frame->payload);
        if (frame->kind == warden_link::FrameKind::kEnd)
          event.mutable_end()->ParseFromString(frame->payload);
        auto written = co_await out.Write(event);
        if (!written) co_return written;
        if (event.has_end()) co_return Result<void>();
        continue;
      }
      if (!(*first)->follow()) co_return Result<void>();
      co_await changed.Wait();
      const bool cancelled = co_await Cancelled();
      if (cancelled) co_return Err(ErrorCode::kCanceled, "cancelled");
    }
  }
  Awaitable<Result<pb::SendInputResponse>> SendInput(rpc::CallContext&,
                                                     pb::SendInputRequest request) override {
    if (request.input().has_signal()) {
      const int signal = request.input().signal();
      End(request.execution_id(), pb::ExecutionEnd::CAUSE_CANCELED, 128 + signal, signal);
    }
    co_return pb::SendInputResponse();
  }
  Awaitable<Result<pb::StopResponse>> Stop(rpc::CallContext&, pb::StopRequest) override {
    network.Close();
    executor_stop();
    co_return pb::StopResponse();
  }
  Awaitable<Result<void>> WatchNetwork(rpc::CallContext&, pb::WatchNetworkRequest request,
                                       rpc::Writer<pb::NetworkEvent>& out) override {
    return network.Watch(std::move(request), out);
  }

  Awaitable<Result<void>> ReadFile(rpc::CallContext&, pb::ReadFileRequest request,
                                   rpc::Writer<pb::FileChunk>& out) override {
    return files.Read(std::move(request), out);
  }
  Awaitable<Result<pb::PathInfo>> StatPath(rpc::CallContext&,
                                           pb::StatPathRequest request) override {
    co_return files.Stat(request);
  }
  Awaitable<Result<void>> WalkTree(rpc::CallContext&, pb::WalkTreeRequest request,
                                   rpc::Writer<pb::PathInfos>& out) override {
    return files.Walk(std::move(request), out);
  }
  Awaitable<Result<pb::WriteFileResult>> WriteFile(rpc::CallContext&,
                                                   rpc::Reader<pb::WriteFileInput>& in) override {
    return files.Write(in);
  }
  Awaitable<Result<pb::RemovePathResult>> RemovePath(rpc::CallContext&,
                                                     pb::RemovePathRequest request) override {
    return files.Remove(std::move(request));
  }
  Awaitable<Result<void>> ArchivePaths(rpc::CallContext&, pb::ArchivePathsRequest request,
                                       rpc::Writer<pb::ArchiveChunk>& out) override {
    return files.Archive(std::move(request), out);
  }
  Awaitable<Result<pb::ExtractArchiveResult>> ExtractArchive(
      rpc::CallContext&, rpc::Reader<pb::ExtractArchiveInput>& in) override {
    return files.Extract(in);
  }

  void Decide(const std::string& host, bool allowed) {
    doors::Decision decision;
    decision.host = host;
    decision.port = 443;
    decision.code = allowed ? doors::Code::kAllowed : doors::Code::kHostNotAllowed;
    decision.message = host + (allowed ? " is allowed" : " is not allowed");
    if (!allowed) decision.suggestion = doors::SuggestHost(host, 443, policy::Protocol::kTcp);
    network.Record(decision);
  }
  void End(const std::string& id, pb::ExecutionEnd::Cause cause, int code, int signal) {
    pb::ExecutionEnd end;
    end.set_cause(cause);
    end.set_exit_code(code);
    end.set_signal(signal);
    network.ExecutionEnded(id, end);
    (void)spools.at(id).Append(warden_link::FrameKind::kEnd, end.SerializeAsString());
    changed.NotifyAll();
  }

  Notifier changed;
  NetworkLog network;
  std::map<std::string, warden_link::SpoolWriter> spools;
  guest::Root root = MakeRoot();
  guest::FileCalls files{root, {}};
  std::function<void()> executor_stop;
};

Awaitable<void> Accept(asio::local::stream_protocol::acceptor& acceptor, const rpc::Server& server,
                       TaskScope& calls) {
  for (;;) {
    auto [error, socket] = co_await acceptor.async_accept(kAwait);
    if (error) co_return;
    calls.Spawn(server.Serve(http::AdoptSocket(acceptor.get_executor(), socket.release())));
  }
}

int Main() {
  std::signal(SIGPIPE, SIG_IGN);
  asio::io_context io(1);
  FakeWarden warden(io.get_executor());
  // A moment later, so that the answer is out; the connection's end is the end for whoever watches.
  warden.executor_stop = [&io] {
    auto timer = std::make_shared<asio::steady_timer>(io, std::chrono::milliseconds(20));
    timer->async_wait([timer](const boost::system::error_code&) { _exit(0); });
  };
  rpc::Router router;
  warden.Register(router);
  const rpc::Server server(router, {}, nullptr);
  asio::local::stream_protocol::acceptor acceptor(io, asio::local::stream_protocol(), 3);
  TaskScope calls(io.get_executor());
  calls.Spawn(Accept(acceptor, server, calls));
  io.run();
  return 0;
}

}  // namespace
}  // namespace cleanroom::warden

int main() { return cleanroom::warden::Main(); }
