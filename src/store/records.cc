#include "store/records.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "document/bounded_json.h"
#include "store/schema.h"

namespace cleanroom::store {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kSandboxColumns =
    "id, status, backend, policy_hash, policy_json, image_ref, image_digest, vcpus, memory_mib, "
    "disk_mib, accelerator, keep, ttl_minutes, reason, console_tail, phases, created_us, "
    "updated_us, last_activity_us, last_execution_id, coalesce((SELECT max(e.id) FROM executions e "
    "WHERE e.sandbox_id = sandboxes.id AND e.status IN (1, 2)), ''), reason_code, remedy, checkout";
// Of IsFinal, in SQL.
constexpr std::string_view kEndedSandbox = "status IN (4, 5)";
constexpr std::string_view kLiveSandbox = "status IN (1, 2, 3, 100)";
// What inserting and updating write alike; BindSandbox binds it.
constexpr std::string_view kWrittenSandboxColumns =
    "status, backend, policy_hash, policy_json, image_ref, image_digest, vcpus, memory_mib, "
    "disk_mib, accelerator, keep, ttl_minutes, reason, console_tail, phases, updated_us, "
    "last_activity_us, reason_code, remedy, checkout";
constexpr std::string_view kWrittenSandboxMarks =
    "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?";
constexpr std::string_view kExecutionColumns =
    "id, sandbox_id, status, kind, command, tty, exit_code, reason, phases, created_us, "
    "started_us, finished_us, reason_code, remedy";

// Strings that are not UTF-8 keep what can be kept: they are for people.
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string PhasesToText(const std::vector<Phase>& phases) {
  Json json = Json::array();
  for (const Phase& phase : phases) json.push_back({phase.name, phase.milliseconds});
  return Dump(json);
}

std::vector<Phase> PhasesFromText(const std::string& text) {
  std::vector<Phase> phases;
  const Json json = document::ParseBoundedJson(text);
  if (!json.is_array()) return phases;
  for (const Json& item : json) {
    if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_number()) {
      phases.push_back({item[0].get<std::string>(), item[1].get<double>()});
    }
  }
  return phases;
}

// Empty for none.
std::string CheckoutToText(const std::optional<Checkout>& checkout) {
  if (!checkout) return "";
  return Dump({{"remote_url", checkout->remote_url},
               {"commit", checkout->commit},
               {"branch", checkout->branch},
               {"path", checkout->path},
               {"submodules", checkout->submodules},
               {"bundle", checkout->bundle}});
}

std::optional<Checkout> CheckoutFromText(const std::string& text) {
  const Json json = document::ParseBoundedJson(text);
  if (!json.is_object()) return std::nullopt;
  const auto word = [&json](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  return Checkout{.remote_url = word("remote_url"),
                  .commit = word("commit"),
                  .branch = word("branch"),
                  .path = word("path"),
                  .submodules = json.value("submodules", Json()) == true,
                  .bundle = word("bundle")};
}

std::vector<std::string> StringsFromText(const std::string& text) {
  std::vector<std::string> strings;
  const Json json = document::ParseBoundedJson(text);
  if (!json.is_array()) return strings;
  for (const Json& item : json) {
    if (item.is_string()) strings.push_back(item.get<std::string>());
  }
  return strings;
}

std::unexpected<Error> NoSandbox(const SandboxId& id) {
  return Err(Error(ErrorCode::kNotFound, fmt::format("there is no sandbox {}", id))
                 .About(SubjectKind::kSandbox, id.text()));
}

std::string_view CodeText(const Reason& reason) {
  return reason.code ? cleanroom::ToString(*reason.code) : std::string_view();
}

SandboxRecord ReadSandbox(const Statement& row) {
  SandboxRecord record;
  record.id = SandboxId(row.Text(0));
  record.status = static_cast<SandboxStatus>(row.Int(1));
  record.backend = row.Text(2);
  record.policy_hash = row.Text(3);
  record.policy_json = row.Text(4);
  record.image_ref = row.Text(5);
  record.image_digest = row.Text(6);
  record.vcpus = static_cast<int32_t>(row.Int(7));
  record.memory_mib = row.Int(8);
  record.disk_mib = row.Int(9);
  record.accelerator = row.Text(10);
  record.keep = row.Int(11) != 0;
  record.ttl_minutes = row.Int(12);
  record.reason = {ParseErrorCode(row.Text(21)), row.Text(13), row.Text(22)};
  record.console_tail = row.Text(14);
  record.phases = PhasesFromText(row.Text(15));
  record.created_us = row.Int(16);
  record.updated_us = row.Int(17);
  record.last_activity_us = row.Int(18);
  record.last_execution_id = ExecutionId(row.Text(19));
  record.active_execution_id = ExecutionId(row.Text(20));
  record.checkout = CheckoutFromText(row.Text(23));
  return record;
}

Statement& BindSandbox(Statement& statement, const SandboxRecord& record) {
  statement.Bind(static_cast<int64_t>(record.status)).Bind(record.backend);
  statement.Bind(record.policy_hash).Bind(record.policy_json);
  statement.Bind(record.image_ref).Bind(record.image_digest);
  statement.Bind(int64_t{record.vcpus}).Bind(record.memory_mib).Bind(record.disk_mib);
  statement.Bind(record.accelerator).Bind(int64_t{record.keep}).Bind(record.ttl_minutes);
  statement.Bind(record.reason.message).Bind(record.console_tail).Bind(PhasesToText(record.phases));
  statement.Bind(record.updated_us).Bind(record.last_activity_us);
  statement.Bind(CodeText(record.reason)).Bind(record.reason.remedy);
  return statement.Bind(CheckoutToText(record.checkout));
}

ExecutionRecord ReadExecution(const Statement& row) {
  ExecutionRecord record;
  record.id = ExecutionId(row.Text(0));
  record.sandbox_id = SandboxId(row.Text(1));
  record.status = static_cast<ExecutionStatus>(row.Int(2));
  record.kind = static_cast<ExecutionKind>(row.Int(3));
  record.command = StringsFromText(row.Text(4));
  record.tty = row.Int(5) != 0;
  record.exit_code = static_cast<int32_t>(row.Int(6));
  record.reason = {ParseErrorCode(row.Text(12)), row.Text(7), row.Text(13)};
  record.phases = PhasesFromText(row.Text(8));
  record.created_us = row.Int(9);
  record.started_us = row.Int(10);
  record.finished_us = row.Int(11);
  return record;
}

}  // namespace

std::string Reason::ToString() const {
  return code ? fmt::format("{}: {}", cleanroom::ToString(*code), message) : message;
}

Result<std::unique_ptr<RecordStore>> RecordStore::Open(const std::string& path) {
  CR_TRY_ASSIGN(auto database, Database::Open(path, kMigrations));
  return std::unique_ptr<RecordStore>(new RecordStore(std::move(database)));
}

Result<void> RecordStore::AddEvent(const SandboxRecord& record, std::string_view message) {
  CR_TRY_ASSIGN(
      auto insert,
      database_->Prepare("INSERT INTO sandbox_events (sandbox_id, status, message, time_us) "
                         "VALUES (?, ?, ?, ?)"));
  insert.Bind(record.id.text())
      .Bind(static_cast<int64_t>(record.status))
      .Bind(message)
      .Bind(record.updated_us);
  CR_TRY(insert.Run());
  return {};
}

Result<void> RecordStore::InsertSandbox(const SandboxRecord& record, std::string_view message) {
  CR_TRY_ASSIGN(auto transaction, Transaction::Begin(*database_));
  CR_TRY_ASSIGN(auto insert, database_->Prepare(fmt::format(
                                 "INSERT INTO sandboxes ({}, id, created_us) VALUES ({}, ?, ?) "
                                 "ON CONFLICT DO NOTHING",
                                 kWrittenSandboxColumns, kWrittenSandboxMarks)));
  BindSandbox(insert, record).Bind(record.id.text()).Bind(record.created_us);
  CR_TRY_ASSIGN(const int64_t inserted, insert.Run());
  if (inserted == 0) {
    return Err(ErrorCode::kAlreadyExists, fmt::format("there is a sandbox {} already", record.id));
  }
  CR_TRY(AddEvent(record, message));
  return transaction.Commit();
}

Result<void> RecordStore::UpdateSandbox(const SandboxRecord& record, std::string_view message) {
  CR_TRY_ASSIGN(auto transaction, Transaction::Begin(*database_));
  CR_TRY_ASSIGN(const SandboxRecord before, GetSandbox(record.id));
  if (IsFinal(before.status)) {
    return Err(ErrorCode::kFailedPrecondition,
               fmt::format("sandbox {} has ended; its record is final", record.id));
  }
  {
    CR_TRY_ASSIGN(auto update,
                  database_->Prepare(fmt::format("UPDATE sandboxes SET ({}) = ({}) WHERE id=?",
                                                 kWrittenSandboxColumns, kWrittenSandboxMarks)));
    BindSandbox(update, record).Bind(record.id.text());
    CR_TRY(update.Run());
  }
  if (before.status != record.status || !message.empty()) CR_TRY(AddEvent(record, message));
  return transaction.Commit();
}

Result<void> RecordStore::TouchSandbox(const SandboxId& id, int64_t activity_us) {
  CR_TRY_ASSIGN(auto update,
                database_->Prepare(fmt::format(
                    "UPDATE sandboxes SET last_activity_us=? WHERE id=? AND {}", kLiveSandbox)));
  CR_TRY(update.Bind(activity_us).Bind(id.text()).Run());
  return {};
}

Result<SandboxRecord> RecordStore::GetSandbox(const SandboxId& id) {
  CR_TRY_ASSIGN(auto query, database_->Prepare(fmt::format("SELECT {} FROM sandboxes WHERE id=?",
                                                           kSandboxColumns)));
  CR_TRY_ASSIGN(const bool found, query.Bind(id.text()).Step());
  if (!found) return NoSandbox(id);
  return ReadSandbox(query);
}

Result<std::vector<SandboxRecord>> RecordStore::ListSandboxes(Which which) {
  CR_TRY_ASSIGN(auto query, database_->Prepare(fmt::format(
                                "SELECT {} FROM sandboxes WHERE {} ORDER BY id DESC",
                                kSandboxColumns, which == Which::kAll ? "1" : kLiveSandbox)));
  std::vector<SandboxRecord> records;
  for (;;) {
    CR_TRY_ASSIGN(const bool more, query.Step());
    if (!more) return records;
    records.push_back(ReadSandbox(query));
  }
}

Result<std::vector<SandboxEventRecord>> RecordStore::ListEvents(const SandboxId& sandbox_id,
                                                                int64_t after, int64_t limit) {
  CR_TRY_ASSIGN(
      auto query,
      database_->Prepare("SELECT sequence, sandbox_id, status, message, time_us, network FROM "
                         "sandbox_events WHERE sandbox_id=? AND sequence>? "
                         "ORDER BY sequence LIMIT ?"));
  query.Bind(sandbox_id.text()).Bind(after).Bind(limit);
  std::vector<SandboxEventRecord> records;
  for (;;) {
    CR_TRY_ASSIGN(const bool more, query.Step());
    if (!more) return records;
    records.push_back({.sequence = query.Int(0),
                       .sandbox_id = SandboxId(query.Text(1)),
                       .status = static_cast<SandboxStatus>(query.Int(2)),
                       .message = query.Text(3),
                       .time_us = query.Int(4),
                       .network = query.Text(5)});
  }
}

Result<void> RecordStore::AddNetworkEvent(const SandboxId& sandbox_id, std::string_view network,
                                          int64_t time_us) {
  CR_TRY_ASSIGN(auto insert,
                database_->Prepare("INSERT INTO sandbox_events (sandbox_id, status, message, "
                                   "time_us, network) SELECT id, status, '', ?, ? FROM sandboxes "
                                   "WHERE id=?"));
  CR_TRY_ASSIGN(const int64_t inserted,
                insert.Bind(time_us).Bind(network).Bind(sandbox_id.text()).Run());
  if (inserted == 1) return {};
  return NoSandbox(sandbox_id);
}

Result<void> RecordStore::SetNetwork(const SandboxId& sandbox_id, std::string_view decisions) {
  CR_TRY_ASSIGN(auto insert,
                database_->Prepare("INSERT INTO sandbox_network (sandbox_id, decisions) "
                                   "VALUES (?, ?) ON CONFLICT (sandbox_id) DO UPDATE SET "
                                   "decisions=excluded.decisions"));
  CR_TRY(insert.Bind(sandbox_id.text()).Bind(decisions).Run());
  return {};
}

Result<std::string> RecordStore::GetNetwork(const SandboxId& sandbox_id) {
  CR_TRY_ASSIGN(auto query,
                database_->Prepare("SELECT decisions FROM sandbox_network WHERE sandbox_id=?"));
  CR_TRY_ASSIGN(const bool found, query.Bind(sandbox_id.text()).Step());
  return found ? query.Text(0) : std::string();
}

Result<void> RecordStore::InsertExecution(const ExecutionRecord& record) {
  CR_TRY_ASSIGN(auto transaction, Transaction::Begin(*database_));
  CR_TRY_ASSIGN(auto insert,
                database_->Prepare(fmt::format(
                    "INSERT INTO executions ({}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT DO NOTHING",
                    kExecutionColumns)));
  insert.Bind(record.id.text())
      .Bind(record.sandbox_id.text())
      .Bind(static_cast<int64_t>(record.status));
  insert.Bind(static_cast<int64_t>(record.kind))
      .Bind(Dump(record.command))
      .Bind(int64_t{record.tty});
  insert.Bind(int64_t{record.exit_code}).Bind(record.reason.message);
  insert.Bind(PhasesToText(record.phases));
  insert.Bind(record.created_us).Bind(record.started_us).Bind(record.finished_us);
  insert.Bind(CodeText(record.reason)).Bind(record.reason.remedy);
  CR_TRY_ASSIGN(const int64_t inserted, insert.Run());
  if (inserted == 0) {
    return Err(ErrorCode::kAlreadyExists,
               fmt::format("there is an execution {} already", record.id));
  }
  CR_TRY_ASSIGN(auto touch,
                database_->Prepare("UPDATE sandboxes SET last_execution_id=?, "
                                   "last_activity_us=max(last_activity_us, ?) WHERE id=?"));
  CR_TRY(touch.Bind(record.id.text()).Bind(record.created_us).Bind(record.sandbox_id.text()).Run());
  return transaction.Commit();
}

Result<void> RecordStore::UpdateExecution(const ExecutionRecord& record) {
  CR_TRY_ASSIGN(
      auto update,
      database_->Prepare(
          "UPDATE executions SET status=?, exit_code=?, reason=?, reason_code=?, remedy=?, "
          "phases=?, started_us=?, finished_us=? WHERE id=? AND status IN (1, 2)"));
  update.Bind(static_cast<int64_t>(record.status))
      .Bind(int64_t{record.exit_code})
      .Bind(record.reason.message)
      .Bind(CodeText(record.reason))
      .Bind(record.reason.remedy);
  update.Bind(PhasesToText(record.phases))
      .Bind(record.started_us)
      .Bind(record.finished_us)
      .Bind(record.id.text());
  CR_TRY_ASSIGN(const int64_t changed, update.Run());
  if (changed == 1) return {};
  CR_TRY(GetExecution(record.id));
  return Err(ErrorCode::kFailedPrecondition,
             fmt::format("execution {} has ended; its record is final", record.id));
}

Result<ExecutionRecord> RecordStore::GetExecution(const ExecutionId& id) {
  CR_TRY_ASSIGN(auto query, database_->Prepare(fmt::format("SELECT {} FROM executions WHERE id=?",
                                                           kExecutionColumns)));
  CR_TRY_ASSIGN(const bool found, query.Bind(id.text()).Step());
  if (!found) {
    return Err(Error(ErrorCode::kNotFound, fmt::format("there is no execution {}", id))
                   .About(SubjectKind::kExecution, id.text()));
  }
  return ReadExecution(query);
}

Result<std::vector<ExecutionRecord>> RecordStore::ListExecutions(const SandboxId& sandbox_id,
                                                                 Which which) {
  CR_TRY_ASSIGN(auto query, database_->Prepare(fmt::format(
                                "SELECT {} FROM executions WHERE {} AND {} ORDER BY id DESC",
                                kExecutionColumns, sandbox_id.empty() ? "?=''" : "sandbox_id=?",
                                which == Which::kAll ? "1" : "status IN (1, 2)")));
  query.Bind(sandbox_id.text());
  std::vector<ExecutionRecord> records;
  for (;;) {
    CR_TRY_ASSIGN(const bool more, query.Step());
    if (!more) return records;
    records.push_back(ReadExecution(query));
  }
}

Result<std::vector<std::string>> RecordStore::Prune(std::string_view select,
                                                    std::string_view remove, int64_t keep) {
  CR_TRY_ASSIGN(auto transaction, Transaction::Begin(*database_));
  std::vector<std::string> ids;
  {
    CR_TRY_ASSIGN(auto query, database_->Prepare(select));
    query.Bind(keep);
    for (;;) {
      CR_TRY_ASSIGN(const bool more, query.Step());
      if (!more) break;
      ids.push_back(query.Text(0));
    }
  }
  for (const std::string& id : ids) {
    CR_TRY_ASSIGN(auto statement, database_->Prepare(remove));
    CR_TRY(statement.Bind(id).Run());
  }
  CR_TRY(transaction.Commit());
  return ids;
}

Result<std::vector<SandboxId>> RecordStore::PruneSandboxes(int64_t keep) {
  CR_TRY_ASSIGN(
      const auto ids,
      Prune(fmt::format(
                "SELECT id FROM sandboxes WHERE {} ORDER BY updated_us DESC, id DESC LIMIT -1 "
                "OFFSET ?",
                kEndedSandbox),
            "DELETE FROM sandboxes WHERE id=?", keep));
  return std::vector<SandboxId>(ids.begin(), ids.end());
}

Result<std::vector<ExecutionId>> RecordStore::PruneExecutions(int64_t keep) {
  CR_TRY_ASSIGN(
      const auto ids,
      Prune("SELECT id FROM executions WHERE status >= 3 ORDER BY finished_us DESC, id DESC LIMIT "
            "-1 OFFSET ?",
            "DELETE FROM executions WHERE id=?", keep));
  return std::vector<ExecutionId>(ids.begin(), ids.end());
}

Result<void> RecordStore::Checkpoint(const std::string& path) {
  CR_TRY_ASSIGN(auto database, Database::OpenAgain(path));
  CR_TRY_ASSIGN(auto checkpoint, database->Prepare("PRAGMA wal_checkpoint(PASSIVE)"));
  CR_TRY(checkpoint.Step());
  return {};
}

}  // namespace cleanroom::store
