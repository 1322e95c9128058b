// Records as messages of the public API.
#pragma once

#include <google/protobuf/timestamp.pb.h>

#include <string_view>

#include "base/error.h"
#include "cleanroom/internal/v1/guest.pb.h"
#include "cleanroom/v1/execution.pb.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "server/progress.h"
#include "store/records.h"

namespace cleanroom::server {

namespace v1 = ::cleanroom::v1;

v1::Sandbox ToMessage(const store::SandboxRecord& record);
v1::Reason ToMessage(const store::Reason& reason);
v1::SandboxEvent ToMessage(const store::SandboxEventRecord& record);
v1::Progress ToMessage(const ProgressUpdate& progress);
v1::Execution ToMessage(const store::ExecutionRecord& record);
// The input that a message of an attachment carries; INPUT_NOT_SET when none.
::cleanroom::internal::v1::ExecInput ToInput(const v1::AttachExecutionRequest& request);
google::protobuf::Timestamp ToTimestamp(int64_t micros);

// The values are the same by construction.
inline v1::SandboxStatus ToMessage(store::SandboxStatus status) {
  return static_cast<v1::SandboxStatus>(status);
}
inline v1::ExecutionStatus ToMessage(store::ExecutionStatus status) {
  return static_cast<v1::ExecutionStatus>(status);
}

// "READY" and so on, for texts.
std::string_view ToString(store::SandboxStatus status);
std::string_view ToString(store::ExecutionStatus status);

}  // namespace cleanroom::server
