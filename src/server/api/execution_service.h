// ExecutionService (proto/cleanroom/v1/execution.proto) on top of Executions.
#pragma once

#include "base/async.h"
#include "cleanroom/v1/execution.pb.h"
#include "rpc/service.h"
#include "server/executions/executions.h"

namespace cleanroom::server {

// Limits of one command.
inline constexpr size_t kMaxArguments = 4096;
inline constexpr size_t kMaxArgumentBytes = 512U << 10;  // of argv and environment together
inline constexpr int64_t kMaxTimeoutSeconds = 30LL * 24 * 3600;

// What the request amounts to; invalid_argument saying what is wrong. Pure, but for the new id.
Result<ExecutionPlan> PlanExecution(const v1::CreateExecutionRequest& request,
                                    std::chrono::system_clock::time_point now);

class ExecutionService {
 public:
  ExecutionService(Executions& executions, WallClock clock)
      : executions_(executions), clock_(std::move(clock)) {}
  void Register(rpc::Router& router);

 private:
  Awaitable<Result<v1::CreateExecutionResponse>> Create(v1::CreateExecutionRequest request);
  Awaitable<Result<v1::GetExecutionResponse>> Get(v1::GetExecutionRequest request);
  Awaitable<Result<v1::ListExecutionsResponse>> List(v1::ListExecutionsRequest request);
  Awaitable<Result<v1::CancelExecutionResponse>> Cancel(v1::CancelExecutionRequest request);
  Awaitable<Result<v1::WriteExecutionStdinResponse>> WriteStdin(
      v1::WriteExecutionStdinRequest request);
  Awaitable<Result<v1::CloseExecutionStdinResponse>> CloseStdin(
      v1::CloseExecutionStdinRequest request);

  Executions& executions_;
  WallClock clock_;
};

}  // namespace cleanroom::server
