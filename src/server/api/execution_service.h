// ExecutionService (proto/cleanroom/v1/execution.proto) on top of Executions.
#pragma once

#include "base/async.h"
#include "cleanroom/v1/execution.rpc.h"
#include "server/executions/executions.h"

namespace cleanroom::server {

// Limits of one command.
inline constexpr size_t kMaxArguments = 4096;
inline constexpr size_t kMaxArgumentBytes = 512U << 10;  // of argv and environment together
inline constexpr int64_t kMaxTimeoutSeconds = 30LL * 24 * 3600;

// What the request amounts to; invalid_argument saying what is wrong. Pure, but for the new id.
Result<ExecutionPlan> PlanExecution(const v1::CreateExecutionRequest& request,
                                    std::chrono::system_clock::time_point now);

class ExecutionService final : public v1::ExecutionService {
 public:
  ExecutionService(Executions& executions, WallClock clock)
      : executions_(executions), clock_(std::move(clock)) {}

 private:
  Awaitable<Result<v1::CreateExecutionResponse>> CreateExecution(
      rpc::CallContext& call, v1::CreateExecutionRequest request) override;
  Awaitable<Result<v1::GetExecutionResponse>> GetExecution(
      rpc::CallContext& call, v1::GetExecutionRequest request) override;
  Awaitable<Result<v1::ListExecutionsResponse>> ListExecutions(
      rpc::CallContext& call, v1::ListExecutionsRequest request) override;
  Awaitable<Result<v1::GetExecutionResponse>> InspectExecution(
      rpc::CallContext& call, v1::GetExecutionRequest request) override;
  Awaitable<Result<v1::CancelExecutionResponse>> CancelExecution(
      rpc::CallContext& call, v1::CancelExecutionRequest request) override;
  Awaitable<Result<void>> StreamExecution(rpc::CallContext& call,
                                          v1::StreamExecutionRequest request,
                                          rpc::Writer<v1::ExecutionStreamEvent>& out) override;
  Awaitable<Result<v1::WriteExecutionStdinResponse>> WriteExecutionStdin(
      rpc::CallContext& call, v1::WriteExecutionStdinRequest request) override;
  Awaitable<Result<v1::CloseExecutionStdinResponse>> CloseExecutionStdin(
      rpc::CallContext& call, v1::CloseExecutionStdinRequest request) override;
  Awaitable<Result<void>> AttachExecution(rpc::CallContext& call,
                                          rpc::Reader<v1::AttachExecutionRequest>& in,
                                          rpc::Writer<v1::ExecutionStreamEvent>& out) override;

  Executions& executions_;
  WallClock clock_;
};

}  // namespace cleanroom::server
