#include "server/api/execution_service.h"

#include <fmt/format.h>

#include "base/id.h"

namespace cleanroom::server {
namespace {

constexpr size_t kMaxWorkdir = 4096;
constexpr size_t kMaxUser = 256;
constexpr int32_t kMaxWindow = 65535;
constexpr int64_t kMaxStartSeconds = 3600;

std::unexpected<Error> Bad(std::string message) {
  return Err(ErrorCode::kInvalidArgument, std::move(message));
}

bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

Result<void> CheckStrings(const v1::CreateExecutionRequest& request) {
  if (request.command().empty() || request.command(0).empty()) {
    return Bad("the command is empty: it must be at least one word");
  }
  if (static_cast<size_t>(request.command_size()) > kMaxArguments) {
    return Bad(fmt::format("the command has more than {} words", kMaxArguments));
  }
  size_t bytes = 0;
  for (const std::string& word : request.command()) {
    if (HasNul(word)) return Bad("the command contains a NUL byte");
    bytes += word.size() + 1;
  }
  for (const std::string& variable : request.options().env()) {
    if (HasNul(variable)) return Bad("the environment contains a NUL byte");
    if (variable.find('=') == std::string::npos || variable[0] == '=') {
      return Bad(fmt::format("'{}' is no environment variable: it must be KEY=VALUE",
                             variable.substr(0, 64)));
    }
    bytes += variable.size() + 1;
  }
  if (bytes > kMaxArgumentBytes) {
    return Bad(fmt::format("command and environment have {} bytes, more than {}", bytes,
                           kMaxArgumentBytes));
  }
  const std::string& workdir = request.options().workdir();
  if (!workdir.empty() && (workdir[0] != '/' || workdir.size() > kMaxWorkdir || HasNul(workdir))) {
    return Bad("the working directory must be an absolute path");
  }
  if (request.options().user().size() > kMaxUser || HasNul(request.options().user())) {
    return Bad("the user must be NAME, NAME:GROUP, UID or UID:GID");
  }
  return {};
}

}  // namespace

Result<ExecutionPlan> PlanExecution(const v1::CreateExecutionRequest& request,
                                    std::chrono::system_clock::time_point now) {
  CR_TRY(CheckId(request.sandbox_id(), "sandbox id"));
  CR_TRY(CheckStrings(request));
  const v1::ExecutionOptions& options = request.options();
  if (options.timeout_seconds() < 0 || options.timeout_seconds() > kMaxTimeoutSeconds) {
    return Bad(fmt::format("timeout_seconds must be between 0 (none) and {}", kMaxTimeoutSeconds));
  }
  if (options.launch_seconds() < 0 || options.launch_seconds() > kMaxStartSeconds) {
    return Bad(
        fmt::format("launch_seconds must be between 0 (the default) and {}", kMaxStartSeconds));
  }
  const v1::WindowSize& window = options.window();
  if (window.rows() < 0 || window.rows() > kMaxWindow || window.columns() < 0 ||
      window.columns() > kMaxWindow) {
    return Bad(fmt::format("the window must have 0 to {} rows and columns", kMaxWindow));
  }

  ExecutionPlan plan;
  plan.record.id = ExecutionId::New(now);
  plan.record.sandbox_id = SandboxId(request.sandbox_id());
  plan.record.kind =
      request.kind() == v1::EXECUTION_KIND_INTERACTIVE || (request.kind() == 0 && options.tty())
          ? store::ExecutionKind::kInteractive
          : store::ExecutionKind::kBatch;
  plan.record.command = {request.command().begin(), request.command().end()};
  plan.record.tty = options.tty();
  plan.record.created_us = MicrosOf(now);
  for (const std::string& word : request.command()) plan.start.add_argv(word);
  for (const std::string& variable : options.env()) plan.start.add_env(variable);
  plan.start.set_workdir(options.workdir());
  plan.start.set_user(options.user());
  plan.start.set_tty(options.tty());
  plan.start.set_stdin(options.stdin() || options.tty());
  plan.start.mutable_window()->set_rows(window.rows());
  plan.start.mutable_window()->set_columns(window.columns());
  plan.timeout = std::chrono::seconds(options.timeout_seconds());
  if (options.launch_seconds() > 0)
    plan.start_limit = std::chrono::seconds(options.launch_seconds());
  return plan;
}

Awaitable<Result<v1::CreateExecutionResponse>> ExecutionService::CreateExecution(
    rpc::CallContext&, v1::CreateExecutionRequest request) {
  CR_CO_TRY_ASSIGN(auto plan, PlanExecution(request, clock_()));
  auto record = co_await executions_.Create(std::move(plan));
  if (!record) co_return Err(std::move(record).error());
  v1::CreateExecutionResponse response;
  *response.mutable_execution() = ToMessage(*record);
  co_return response;
}

Awaitable<Result<v1::GetExecutionResponse>> ExecutionService::GetExecution(
    rpc::CallContext&, v1::GetExecutionRequest request) {
  CR_CO_TRY_ASSIGN(const auto record, executions_.Get(SandboxId(request.sandbox_id()),
                                                      ExecutionId(request.execution_id())));
  v1::GetExecutionResponse response;
  *response.mutable_execution() = ToMessage(record);
  co_return response;
}

Awaitable<Result<v1::GetExecutionResponse>> ExecutionService::InspectExecution(
    rpc::CallContext& call, v1::GetExecutionRequest request) {
  return GetExecution(call, std::move(request));
}

Awaitable<Result<v1::ListExecutionsResponse>> ExecutionService::ListExecutions(
    rpc::CallContext&, v1::ListExecutionsRequest request) {
  using Which = store::RecordStore::Which;
  CR_CO_TRY_ASSIGN(const auto records,
                   executions_.List(SandboxId(request.sandbox_id()),
                                    request.all() ? Which::kAll : Which::kLive));
  v1::ListExecutionsResponse response;
  for (const store::ExecutionRecord& record : records)
    *response.add_executions() = ToMessage(record);
  co_return response;
}

Awaitable<Result<v1::CancelExecutionResponse>> ExecutionService::CancelExecution(
    rpc::CallContext&, v1::CancelExecutionRequest request) {
  auto answer = co_await executions_.Cancel(SandboxId(request.sandbox_id()),
                                            ExecutionId(request.execution_id()), request.signal());
  if (!answer) co_return Err(std::move(answer).error());
  v1::CancelExecutionResponse response;
  response.set_sandbox_id(answer->record.sandbox_id.text());
  response.set_execution_id(answer->record.id.text());
  response.set_accepted(answer->accepted);
  response.set_status(ToMessage(answer->record.status));
  co_return response;
}

Awaitable<Result<void>> ExecutionService::StreamExecution(
    rpc::CallContext&, v1::StreamExecutionRequest request,
    rpc::Writer<v1::ExecutionStreamEvent>& out) {
  return executions_.Stream(SandboxId(request.sandbox_id()), ExecutionId(request.execution_id()),
                            request.follow() ? Executions::Follow::kYes : Executions::Follow::kNo,
                            out);
}

Awaitable<Result<v1::WriteExecutionStdinResponse>> ExecutionService::WriteExecutionStdin(
    rpc::CallContext&, v1::WriteExecutionStdinRequest request) {
  pb::ExecInput input;
  input.set_stdin(std::move(*request.mutable_data()));
  auto sent = co_await executions_.SendInput(SandboxId(request.sandbox_id()),
                                             ExecutionId(request.execution_id()), std::move(input));
  if (!sent) co_return Err(std::move(sent).error());
  co_return v1::WriteExecutionStdinResponse();
}

Awaitable<Result<v1::CloseExecutionStdinResponse>> ExecutionService::CloseExecutionStdin(
    rpc::CallContext&, v1::CloseExecutionStdinRequest request) {
  pb::ExecInput input;
  input.set_close_stdin(true);
  auto sent = co_await executions_.SendInput(SandboxId(request.sandbox_id()),
                                             ExecutionId(request.execution_id()), std::move(input));
  if (!sent) co_return Err(std::move(sent).error());
  co_return v1::CloseExecutionStdinResponse();
}

Awaitable<Result<void>> ExecutionService::AttachExecution(
    rpc::CallContext&, rpc::Reader<v1::AttachExecutionRequest>& in,
    rpc::Writer<v1::ExecutionStreamEvent>& out) {
  return executions_.Attach(in, out);
}

}  // namespace cleanroom::server
