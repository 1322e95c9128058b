// The part of Supervisor that serves who uses the machine: commands and files.
#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "base/id.h"
#include "warden/guest_agent.h"
#include "warden/supervisor.h"

namespace cleanroom::warden {
namespace {

using std::chrono::milliseconds;

// Commands that have ended and can still be followed here; of older ones the control plane has the
// records.
constexpr size_t kMaxEnded = 1024;

}  // namespace

Result<void> Supervisor::StartExecution(pb::StartExecutionRequest request) {
  CR_TRY(CheckId(request.execution_id(), "execution id"));
  // Without a machine, one that was READY is ending.
  if (state_.phase() != pb::WardenState::PHASE_READY || stopping_ || !machine_) {
    return Err(ErrorCode::kFailedPrecondition, "the sandbox is not ready");
  }
  if (running_ >= kMaxRunning) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("{} commands run in this sandbox already", running_));
  }
  NetworkLog* const log = config_.network_log;
  const std::string id = request.execution_id();
  ExecutionLimits limits{.timeout = milliseconds(request.timeout_ms())};
  if (request.start_limit_ms() > 0) limits.start = milliseconds(request.start_limit_ms());
  CR_TRY_ASSIGN(
      auto execution,
      Execution::Create(executor_, request.execution_id(),
                        config_.folder / "executions" / (request.execution_id() + ".log"),
                        std::move(*request.mutable_start()), limits,
                        [log, id](pb::ExecutionEnd& end) { log->ExecutionEnded(id, end); }));
  log->ExecutionStarted(id);
  executions_[execution->id()] = execution;
  tasks_.Spawn(RunExecution(std::move(execution), machine_->agent()));
  return {};
}

Awaitable<void> Supervisor::RunExecution(std::shared_ptr<Execution> execution,
                                         std::shared_ptr<rpc::Channel> agent) {
  ++running_;
  guest_watch_.Begin();
  co_await execution->Run(*agent);
  guest_watch_.End();
  --running_;
  changed_.NotifyAll();
  ended_.push_back(execution->id());
  if (ended_.size() <= kMaxEnded) co_return;
  executions_.erase(ended_.front());
  ended_.pop_front();
}

Result<std::shared_ptr<Execution>> Supervisor::FindExecution(const std::string& id) const {
  const auto found = executions_.find(id);
  if (found == executions_.end())
    return Err(ErrorCode::kNotFound, fmt::format("no execution {}", id.substr(0, 64)));
  return found->second;
}

Awaitable<Result<void>> Supervisor::Input(std::string execution_id, pb::ExecInput input) {
  auto execution = FindExecution(execution_id);
  if (!execution) co_return Err(std::move(execution).error());
  if (!machine_) co_return Err(ErrorCode::kFailedPrecondition, "the sandbox has ended");
  const auto agent = machine_->agent();
  auto done = co_await (*execution)->Input(*agent, std::move(input));
  co_return done;
}

Awaitable<Result<void>> Supervisor::ReadFile(pb::ReadFileRequest request,
                                             rpc::Writer<pb::FileChunk>& out) {
  if (state_.phase() != pb::WardenState::PHASE_READY || !machine_) {
    co_return Err(ErrorCode::kFailedPrecondition, "the sandbox is not ready");
  }
  const auto agent = machine_->agent();
  guest_watch_.Begin();
  auto copied = co_await CopyFile(agent, std::move(request), out);
  guest_watch_.End();
  co_return copied;
}

Result<std::shared_ptr<rpc::Channel>> Supervisor::ReadyAgent() const {
  if (state_.phase() == pb::WardenState::PHASE_READY && machine_) return machine_->agent();
  return Err(ErrorCode::kFailedPrecondition, "the sandbox is not ready");
}

}  // namespace cleanroom::warden
