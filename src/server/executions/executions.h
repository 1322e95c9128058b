// Executions: commands in sandboxes, from their record to their end, and what they wrote.
//
// A command's output is recorded by its warden. A stream of it is an attachment of its own to the
// warden while the sandbox lives, and a reader of the kept file afterwards, so that no reader waits
// for another and nothing is buffered here beyond one message and one batch of frames.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/async.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "rpc/service.h"
#include "server/convert.h"
#include "server/sandboxes/live_sandbox.h"

namespace cleanroom::server {

class Sandboxes;

// What a request to run a command amounts to.
struct ExecutionPlan {
  store::ExecutionRecord record;  // with its id; QUEUED
  pb::ExecStart start;
  std::chrono::milliseconds timeout{0};           // 0: none
  std::chrono::milliseconds start_limit{30'000};  // for the guest to take it
};

class Executions : public SandboxObserver {
 public:
  Executions(asio::any_io_executor executor, store::RecordStore& store, BlockingPool& pool,
             Sandboxes& sandboxes, const Settings& settings, const Layout& layout, WallClock clock);

  // Persists the command and hands it to the guest. Returns when it runs, or has failed to. When
  // the task is cancelled before that, the command is killed.
  Awaitable<Result<store::ExecutionRecord>> Create(ExecutionPlan plan);
  // An empty sandbox id matches any.
  Result<store::ExecutionRecord> Get(const SandboxId& sandbox_id, const ExecutionId& id) const;
  Result<std::vector<store::ExecutionRecord>> List(const SandboxId& sandbox_id,
                                                   store::RecordStore::Which which) const;

  struct CancelAnswer {
    bool accepted;
    store::ExecutionRecord record;
  };
  // Signal 0: SIGTERM, and SIGKILL after Settings::cancel_grace.
  Awaitable<Result<CancelAnswer>> Cancel(SandboxId sandbox_id, ExecutionId id, int signal);
  Awaitable<Result<void>> SendInput(SandboxId sandbox_id, ExecutionId id, pb::ExecInput input);

  enum class Follow { kNo, kYes };
  // Replays all output and, with kYes, follows to the exit, which is the last event.
  Awaitable<Result<void>> Stream(SandboxId sandbox_id, ExecutionId id, Follow follow,
                                 rpc::Writer<v1::ExecutionStreamEvent>& out);
  // The same, with input from the caller. Ending the call leaves the command running.
  Awaitable<Result<void>> Attach(rpc::Reader<v1::AttachExecutionRequest>& in,
                                 rpc::Writer<v1::ExecutionStreamEvent>& out);

  // Once, before serving: removes what is kept of executions that no record knows any more.
  Awaitable<void> RemoveStrays();
  // Waits for work on finished executions (their summaries). After the sandboxes' Shutdown.
  Awaitable<void> Shutdown();

  void OnReady(const std::shared_ptr<LiveSandbox>& sandbox) override;
  Awaitable<void> OnEnding(LiveSandbox& sandbox) override;
  void OnEnded(const LiveSandbox& sandbox) override;

 private:
  // A command that has not ended, and those who wait for that.
  struct Running {
    Running(asio::any_io_executor executor, store::ExecutionRecord execution,
            std::shared_ptr<LiveSandbox> home)
        : record(std::move(execution)), sandbox(std::move(home)), changed(std::move(executor)) {}
    store::ExecutionRecord record;
    std::shared_ptr<LiveSandbox> sandbox;
    Notifier changed;  // after every change of the record
    bool cancel_requested = false;
    std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
    std::optional<std::chrono::steady_clock::time_point> ran_since;  // nothing: before a restart
  };
  using Attachment = rpc::ClientStream<pb::AttachInput, pb::AttachEvent>;
  struct Cursor;

  Awaitable<void> Run(std::shared_ptr<Running> running, pb::ExecStart start,
                      std::chrono::milliseconds timeout, std::chrono::milliseconds start_limit);
  Awaitable<void> AwaitEnd(std::shared_ptr<Running> running);
  Awaitable<void> KillAfter(std::shared_ptr<Running> running, std::chrono::seconds grace);
  Awaitable<Result<void>> Send(std::shared_ptr<Running> running, pb::ExecInput input);
  // The first end counts; it is persisted before anybody is told.
  void Finish(const ExecutionId& id, const pb::ExecutionEnd& end);
  void Fail(const ExecutionId& id, const Error& error);
  void Settle(store::ExecutionRecord record);
  Awaitable<void> WriteSummary(store::ExecutionRecord record, store::SandboxRecord sandbox,
                               bool image_was_present);
  Awaitable<void> RemoveKept(std::vector<ExecutionId> ids);

  Awaitable<Result<void>> StreamFrom(Cursor& cursor, rpc::Reader<v1::AttachExecutionRequest>* in,
                                     rpc::Writer<v1::ExecutionStreamEvent>& out);
  Awaitable<Result<void>> StreamLive(Cursor& cursor, std::shared_ptr<Running> running,
                                     rpc::Reader<v1::AttachExecutionRequest>* in,
                                     rpc::Writer<v1::ExecutionStreamEvent>& out);
  Awaitable<Result<void>> StreamKept(Cursor& cursor, rpc::Writer<v1::ExecutionStreamEvent>& out);
  Awaitable<void> PumpInput(rpc::Reader<v1::AttachExecutionRequest>& in, Attachment& attachment);
  Awaitable<Result<void>> WriteExit(Cursor& cursor, rpc::Writer<v1::ExecutionStreamEvent>& out);
  std::shared_ptr<Running> FindRunning(const ExecutionId& id) const;

  asio::any_io_executor executor_;
  store::RecordStore& store_;
  BlockingPool& pool_;
  Sandboxes& sandboxes_;
  const Settings& settings_;
  const Layout& layout_;
  WallClock clock_;
  std::set<ExecutionId> writing_;  // executions whose summary is being written
  Notifier written_;
  TaskScope tasks_;
  std::map<ExecutionId, std::shared_ptr<Running>> running_;
};

}  // namespace cleanroom::server
