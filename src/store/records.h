// The records of one host: sandboxes, their events, executions.
//
// What holds whoever calls: an id exists once; a record in a final state never changes again
// (failed_precondition); a change of status and its event are written together. Times are
// microseconds since the Unix epoch. One thread; each call is one transaction, of tens of
// microseconds (see README.md on durability).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "store/database.h"

namespace cleanroom::store {

// Values as stored, and as on the wire.
enum class SandboxStatus {
  kProvisioning = 1,
  kReady = 2,
  kStopping = 3,
  kStopped = 4,
  kFailed = 5,
  kSetup = 100,  // the machine runs, and set-up steps run in it
};
enum class ExecutionStatus {
  kQueued = 1,
  kRunning = 2,
  kSucceeded = 3,
  kFailed = 4,
  kCanceled = 5,
  kTimedOut = 6
};
enum class ExecutionKind { kBatch = 1, kInteractive = 2 };

constexpr bool IsFinal(SandboxStatus status) {
  return status == SandboxStatus::kStopped || status == SandboxStatus::kFailed;
}
// On its way up: nobody can use it yet.
constexpr bool IsBeingMade(SandboxStatus status) {
  return status == SandboxStatus::kProvisioning || status == SandboxStatus::kSetup;
}
constexpr bool IsFinal(ExecutionStatus status) {
  return status != ExecutionStatus::kQueued && status != ExecutionStatus::kRunning;
}

// One timed step.
struct Phase {
  std::string name;
  double milliseconds = 0;
  bool operator==(const Phase&) const = default;
};

// Why something ended, as an error is: its code, its message and, where there is one, what to do
// about it. Without a code: what a guest said of a command's end.
struct Reason {
  std::optional<ErrorCode> code;
  std::string message;
  std::string remedy;

  static Reason Of(const Error& error) { return {error.code(), error.message(), error.remedy()}; }
  bool empty() const { return !code && message.empty(); }
  // "code: message", as users see it; the message alone where there is no code.
  std::string ToString() const;
  bool operator==(const Reason&) const = default;
};

// The commit of a repository that a sandbox has in it.
struct Checkout {
  std::string remote_url;
  std::string commit;  // its full id
  std::string branch;  // that HEAD is attached to; empty: it is detached
  std::string path;    // of the work tree in the sandbox
  bool submodules = false;
  std::string bundle{};  // digest of the bundle that has the commit; empty: the remote has it
  bool operator==(const Checkout&) const = default;
};

struct SandboxRecord {
  SandboxId id;
  SandboxStatus status = SandboxStatus::kProvisioning;
  std::string backend;
  std::string policy_hash;
  std::string policy_json;  // canonical
  std::string image_ref;
  std::string image_digest;
  std::optional<Checkout> checkout;
  int32_t vcpus = 0;
  int64_t memory_mib = 0;
  int64_t disk_mib = 0;
  std::string accelerator;
  bool keep = false;        // no idle limit
  int64_t ttl_minutes = 0;  // the idle limit
  Reason reason;            // of its end
  std::string console_tail;
  std::vector<Phase> phases;
  int64_t created_us = 0;
  int64_t updated_us = 0;
  int64_t last_activity_us = 0;
  // Kept by the store from the executions.
  ExecutionId last_execution_id;
  ExecutionId active_execution_id;
};

struct SandboxEventRecord {
  int64_t sequence = 0;  // rises with time, over all sandboxes
  SandboxId sandbox_id;
  SandboxStatus status = SandboxStatus::kProvisioning;
  std::string message;
  int64_t time_us = 0;
  std::string network;  // a decision of its doors, as JSON; empty: none
};

struct ExecutionRecord {
  ExecutionId id;
  SandboxId sandbox_id;
  ExecutionStatus status = ExecutionStatus::kQueued;
  ExecutionKind kind = ExecutionKind::kBatch;
  std::vector<std::string> command;
  bool tty = false;
  int32_t exit_code = 0;
  Reason reason;
  std::vector<Phase> phases;
  int64_t created_us = 0;
  int64_t started_us = 0;   // 0: not yet
  int64_t finished_us = 0;  // 0: not yet
};

class RecordStore {
 public:
  // Opens or makes the database (see Database::Open).
  static Result<std::unique_ptr<RecordStore>> Open(const std::string& path);

  // already_exists when the id is taken.
  Result<void> InsertSandbox(const SandboxRecord& record, std::string_view message);
  // Writes everything but created_us and the execution ids, and an event when the status changes or
  // there is a message. not_found, or failed_precondition when the stored status is final.
  Result<void> UpdateSandbox(const SandboxRecord& record, std::string_view message = "");
  Result<void> TouchSandbox(const SandboxId& id, int64_t activity_us);
  // not_found when there is none.
  Result<SandboxRecord> GetSandbox(const SandboxId& id);
  // Newest first; only those not in a final state, or all.
  enum class Which { kLive, kAll };
  Result<std::vector<SandboxRecord>> ListSandboxes(Which which);
  // In order, after the sequence number, at most `limit`.
  Result<std::vector<SandboxEventRecord>> ListEvents(const SandboxId& sandbox_id, int64_t after,
                                                     int64_t limit);

  // An event that carries a decision of the sandbox's doors, as JSON. not_found when there is none.
  Result<void> AddNetworkEvent(const SandboxId& sandbox_id, std::string_view network,
                               int64_t time_us);
  // What is kept of the sandbox's network decisions, as JSON; goes with the sandbox's record.
  Result<void> SetNetwork(const SandboxId& sandbox_id, std::string_view decisions);
  // Empty when nothing is kept.
  Result<std::string> GetNetwork(const SandboxId& sandbox_id);

  // Also makes it the sandbox's last execution.
  Result<void> InsertExecution(const ExecutionRecord& record);
  // Writes status, exit code, reason, phases and times. Errors as for UpdateSandbox.
  Result<void> UpdateExecution(const ExecutionRecord& record);
  Result<ExecutionRecord> GetExecution(const ExecutionId& id);
  // Newest first; of one sandbox, or of all when `sandbox_id` is empty.
  Result<std::vector<ExecutionRecord>> ListExecutions(const SandboxId& sandbox_id, Which which);

  // Removes the oldest records in a final state beyond `keep`; answers the removed ids.
  Result<std::vector<SandboxId>> PruneSandboxes(int64_t keep);
  Result<std::vector<ExecutionId>> PruneExecutions(int64_t keep);

  // Moves the write-ahead log into the database, waiting for the disk. On its own connection: any
  // thread.
  static Result<void> Checkpoint(const std::string& path);

  const std::string& path() const { return database_->path(); }

 private:
  explicit RecordStore(std::unique_ptr<Database> database) : database_(std::move(database)) {}
  Result<void> AddEvent(const SandboxRecord& record, std::string_view message);
  Result<std::vector<std::string>> Prune(std::string_view select, std::string_view remove,
                                         int64_t keep);

  std::unique_ptr<Database> database_;
};

}  // namespace cleanroom::store
