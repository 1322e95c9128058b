#include "guest/serve/service.h"

#include <signal.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>

#include "guest/exec/execution.h"

namespace cleanroom::guest {
namespace {

using namespace internal::v1;  // NOLINT(google-build-using-namespace): one proto, one service
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTermGrace(500);
constexpr std::chrono::milliseconds kKillGrace(2000);

}  // namespace

GuestService::GuestService(asio::any_io_executor executor, Machine& machine, Reaper& reaper,
                           ServiceConfig config)
    : executor_(executor),
      machine_(machine),
      reaper_(reaper),
      config_(std::move(config)),
      cgroups_(config_.cgroup_path),
      end_(executor) {}

Awaitable<Result<ConfigureResponse>> GuestService::Configure(rpc::CallContext&,
                                                             ConfigureRequest request) {
  if (configure_called_) {
    co_return Err(ErrorCode::kFailedPrecondition, "the guest has been configured already");
  }
  configure_called_ = !request.rehearsal();
  if (!root_) {
    CR_CO_TRY_ASSIGN(Root root, machine_.Prepare(request.prepare()));
    root_.emplace(std::move(root));
  }
  if (request.rehearsal() && request.drop_caches()) CR_CO_TRY(machine_.DropCaches());
  CR_CO_TRY(machine_.Identify(request, *root_));
  // As container runtimes do: the image's own directory is made, one that a caller names is not.
  if (!request.workdir().empty()) {
    CR_CO_TRY(root_->MakeDirs(request.workdir()));
  }
  defaults_ = {.hostname = request.hostname(),
               .env = {request.env().begin(), request.env().end()},
               .workdir = request.workdir(),
               .user = request.user(),
               .change_user = config_.change_user};
  ConfigureResponse response;
  utsname name = {};
  if (uname(&name) == 0) response.set_kernel_release(name.release);
  response.set_agent_version(config_.version);
  response.set_wall_clock_ns(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                 std::chrono::system_clock::now().time_since_epoch())
                                 .count());
  co_return response;
}

Awaitable<Result<AdjustClockResponse>> GuestService::AdjustClock(rpc::CallContext&,
                                                                 AdjustClockRequest request) {
  CR_CO_TRY(machine_.AdjustClock(request.offset_ns()));
  co_return AdjustClockResponse();
}

Awaitable<Result<MountResponse>> GuestService::Mount(rpc::CallContext&, MountRequest request) {
  CR_CO_TRY(CheckUsable());
  CR_CO_TRY(machine_.Mount(request, *root_));
  co_return MountResponse();
}

Awaitable<Result<void>> GuestService::Exec(rpc::CallContext&, rpc::Reader<ExecInput>& in,
                                           rpc::Writer<ExecOutput>& out) {
  CR_CO_TRY(CheckUsable());
  auto first = co_await in.Next();
  if (!first) co_return Err(std::move(first).error());
  if (!*first || !(*first)->has_start()) {
    co_return Err(ErrorCode::kInvalidArgument, "the first input of an execution must be start");
  }
  CR_CO_TRY(CheckUsable());
  Execution execution(executor_, reaper_, cgroups_, accounts_);
  const std::string name = (*first)->start().execution_id();
  const bool named = !name.empty() && executions_.emplace(name, &execution).second;
  auto ended = co_await execution.Run(*root_, defaults_, config_.ptmx_path.c_str(),
                                      std::move(*(*first)->mutable_start()), in, out);
  if (named) executions_.erase(name);
  co_return ended;
}

Awaitable<Result<ControlResponse>> GuestService::Control(rpc::CallContext&,
                                                         ControlRequest request) {
  const auto found = executions_.find(request.execution_id());
  if (found == executions_.end()) {
    co_return Err(ErrorCode::kNotFound, "no such command runs here");
  }
  found->second->Control(request.input());
  co_return ControlResponse();
}

Awaitable<Result<PingResponse>> GuestService::Ping(rpc::CallContext&, PingRequest) {
  co_return PingResponse();
}

Awaitable<Result<void>> GuestService::ReadFile(rpc::CallContext&, ReadFileRequest request,
                                               rpc::Writer<FileChunk>& out) {
  CR_CO_TRY_ASSIGN(const FileCalls files, Files());
  auto done = co_await files.Read(std::move(request), out);
  co_return done;
}

Awaitable<Result<PathInfo>> GuestService::StatPath(rpc::CallContext&, StatPathRequest request) {
  CR_CO_TRY_ASSIGN(const FileCalls files, Files());
  co_return files.Stat(request);
}

Awaitable<Result<void>> GuestService::WalkTree(rpc::CallContext&, WalkTreeRequest request,
                                               rpc::Writer<PathInfos>& out) {
  CR_CO_TRY_ASSIGN(const FileCalls files, Files());
  if (request.changes()) {
    CR_CO_TRY_ASSIGN(std::string upper, machine_.UpperOf(request.path()));
    auto told = co_await files.WalkChanges(request.path(), std::move(upper), out);
    co_return told;
  }
  auto done = co_await files.Walk(std::move(request), out);
  co_return done;
}

Awaitable<Result<WriteFileResult>> GuestService::WriteFile(rpc::CallContext&,
                                                           rpc::Reader<WriteFileInput>& in) {
  CR_CO_TRY_ASSIGN(const FileCalls files, Files());
  auto done = co_await files.Write(in);
  co_return done;
}

Awaitable<Result<RemovePathResult>> GuestService::RemovePath(rpc::CallContext&,
                                                             RemovePathRequest request) {
  CR_CO_TRY_ASSIGN(const FileCalls files, Files());
  auto done = co_await files.Remove(std::move(request));
  co_return done;
}

Awaitable<Result<void>> GuestService::ArchivePaths(rpc::CallContext&, ArchivePathsRequest request,
                                                   rpc::Writer<ArchiveChunk>& out) {
  CR_CO_TRY_ASSIGN(const FileCalls files, Files());
  auto done = co_await files.Archive(std::move(request), out);
  co_return done;
}

Awaitable<Result<ExtractArchiveResult>> GuestService::ExtractArchive(
    rpc::CallContext&, rpc::Reader<ExtractArchiveInput>& in) {
  CR_CO_TRY_ASSIGN(const FileCalls files, Files());
  auto done = co_await files.Extract(in);
  co_return done;
}

Awaitable<Result<ShutdownResponse>> GuestService::Shutdown(rpc::CallContext&, ShutdownRequest) {
  stopping_ = true;
  machine_.SignalAll(SIGTERM);
  // Stopped processes must wake up to notice.
  machine_.SignalAll(SIGCONT);
  co_await WaitForNoProcess(kTermGrace);
  machine_.SignalAll(SIGKILL);
  co_await WaitForNoProcess(kKillGrace);
  machine_.Quiesce();
  ended_ = true;
  end_.NotifyAll();
  co_return ShutdownResponse();
}

Result<void> GuestService::CheckUsable() const {
  if (stopping_) return Err(ErrorCode::kUnavailable, "the guest is shutting down");
  if (!root_) return Err(ErrorCode::kFailedPrecondition, "the guest has not been configured");
  return {};
}

Result<FileCalls> GuestService::Files() {
  CR_TRY(CheckUsable());
  if (!config_.change_user) return FileCalls(*root_, {});
  CR_TRY_ASSIGN(const accounts::User user, accounts_.Find(*root_, defaults_.user));
  return FileCalls(*root_, tree::Owner{.uid = user.uid, .gid = user.gid});
}

Awaitable<void> GuestService::WaitForNoProcess(std::chrono::milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  while (reaper_.HasChildren() && steady_clock::now() < deadline) {
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_await asio::this_coro::reset_cancellation_state();
    co_await reaper_.collected().WaitUntil(deadline);
  }
}

}  // namespace cleanroom::guest
