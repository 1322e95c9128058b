#include "server/convert.h"

#include <google/protobuf/util/json_util.h>

namespace cleanroom::server {
namespace {

static_assert(static_cast<int>(store::SandboxStatus::kFailed) == v1::SANDBOX_STATUS_FAILED);
static_assert(static_cast<int>(store::SandboxStatus::kSetup) == v1::SANDBOX_STATUS_SETUP);
static_assert(static_cast<int>(store::ExecutionStatus::kTimedOut) ==
              v1::EXECUTION_STATUS_TIMED_OUT);
static_assert(static_cast<int>(store::ExecutionKind::kInteractive) ==
              v1::EXECUTION_KIND_INTERACTIVE);

}  // namespace

google::protobuf::Timestamp ToTimestamp(int64_t micros) {
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(micros / 1'000'000);
  timestamp.set_nanos(static_cast<int32_t>(micros % 1'000'000) * 1000);
  return timestamp;
}

v1::Sandbox ToMessage(const store::SandboxRecord& record) {
  v1::Sandbox message;
  message.set_sandbox_id(record.id.text());
  message.set_status(ToMessage(record.status));
  message.set_backend(record.backend);
  message.set_policy_hash(record.policy_hash);
  *message.mutable_created_at() = ToTimestamp(record.created_us);
  *message.mutable_updated_at() = ToTimestamp(record.updated_us);
  message.set_last_execution_id(record.last_execution_id.text());
  message.set_active_execution_id(record.active_execution_id.text());
  if (record.checkout) {
    v1::RepositoryCheckout& checkout = *message.mutable_repository_checkout();
    checkout.set_remote_url(record.checkout->remote_url);
    checkout.set_commit_sha(record.checkout->commit);
    checkout.set_branch(record.checkout->branch);
    checkout.set_destination_dir(record.checkout->path);
    checkout.set_submodules(record.checkout->submodules);
  }
  message.set_image_ref(record.image_ref);
  message.set_image_digest(record.image_digest);
  message.set_reason(record.reason.ToString());
  if (record.reason.code) *message.mutable_why() = ToMessage(record.reason);
  message.set_console_tail(record.console_tail);
  message.set_vcpus(record.vcpus);
  message.set_memory_mib(record.memory_mib);
  message.set_accelerator(record.accelerator);
  message.set_keep(record.keep);
  for (const store::Phase& phase : record.phases) {
    v1::Phase* out = message.add_phases();
    out->set_name(phase.name);
    out->set_milliseconds(phase.milliseconds);
  }
  return message;
}

v1::Reason ToMessage(const store::Reason& reason) {
  v1::Reason message;
  if (reason.code) message.set_code(std::string(ToString(*reason.code)));
  message.set_message(reason.message);
  message.set_remedy(reason.remedy);
  return message;
}

v1::SandboxEvent ToMessage(const store::SandboxEventRecord& record) {
  v1::SandboxEvent message;
  message.set_sandbox_id(record.sandbox_id.text());
  message.set_status(ToMessage(record.status));
  message.set_message(record.message);
  *message.mutable_occurred_at() = ToTimestamp(record.time_us);
  if (!record.network.empty()) {
    const auto parsed =
        google::protobuf::util::JsonStringToMessage(record.network, message.mutable_network());
    if (!parsed.ok()) message.clear_network();
  }
  return message;
}

v1::Progress ToMessage(const ProgressUpdate& progress) {
  v1::Progress message;
  message.set_phase(progress.phase);
  message.set_message(progress.message);
  message.set_done(progress.done);
  message.set_total(progress.total);
  return message;
}

v1::Execution ToMessage(const store::ExecutionRecord& record) {
  v1::Execution message;
  message.set_execution_id(record.id.text());
  message.set_sandbox_id(record.sandbox_id.text());
  message.set_status(ToMessage(record.status));
  for (const std::string& argument : record.command) message.add_command(argument);
  message.set_exit_code(record.exit_code);
  if (record.started_us != 0) *message.mutable_started_at() = ToTimestamp(record.started_us);
  if (record.finished_us != 0) *message.mutable_finished_at() = ToTimestamp(record.finished_us);
  message.set_tty(record.tty);
  // Clients of the original API know an execution by this older name as well.
  message.set_run_id(record.id.text());
  message.set_kind(static_cast<v1::ExecutionKind>(record.kind));
  message.set_reason(record.reason.ToString());
  if (record.reason.code) *message.mutable_why() = ToMessage(record.reason);
  for (const store::Phase& phase : record.phases) {
    v1::Phase* out = message.add_phases();
    out->set_name(phase.name);
    out->set_milliseconds(phase.milliseconds);
  }
  return message;
}

::cleanroom::internal::v1::ExecInput ToInput(const v1::AttachExecutionRequest& request) {
  ::cleanroom::internal::v1::ExecInput input;
  switch (request.input_case()) {
    case v1::AttachExecutionRequest::kStdin:
      input.set_stdin(request.stdin());
      break;
    case v1::AttachExecutionRequest::kCloseStdin:
      input.set_close_stdin(request.close_stdin());
      break;
    case v1::AttachExecutionRequest::kResize:
      input.mutable_resize()->set_rows(request.resize().rows());
      input.mutable_resize()->set_columns(request.resize().columns());
      break;
    case v1::AttachExecutionRequest::kSignal:
      input.set_signal(request.signal());
      break;
    case v1::AttachExecutionRequest::INPUT_NOT_SET:
      break;
  }
  return input;
}

std::string_view ToString(store::SandboxStatus status) {
  switch (status) {
    case store::SandboxStatus::kProvisioning:
      return "PROVISIONING";
    case store::SandboxStatus::kReady:
      return "READY";
    case store::SandboxStatus::kStopping:
      return "STOPPING";
    case store::SandboxStatus::kStopped:
      return "STOPPED";
    case store::SandboxStatus::kFailed:
      return "FAILED";
    case store::SandboxStatus::kSetup:
      return "SETUP";
  }
  return "UNKNOWN";
}

std::string_view ToString(store::ExecutionStatus status) {
  switch (status) {
    case store::ExecutionStatus::kQueued:
      return "QUEUED";
    case store::ExecutionStatus::kRunning:
      return "RUNNING";
    case store::ExecutionStatus::kSucceeded:
      return "SUCCEEDED";
    case store::ExecutionStatus::kFailed:
      return "FAILED";
    case store::ExecutionStatus::kCanceled:
      return "CANCELED";
    case store::ExecutionStatus::kTimedOut:
      return "TIMED_OUT";
  }
  return "UNKNOWN";
}

}  // namespace cleanroom::server
