// The schema, as the steps that lead to it. A released step never changes; a change is a new step.
#pragma once

#include <array>
#include <string_view>

namespace cleanroom::store {

inline constexpr std::array<std::string_view, 4> kMigrations = {
    R"sql(
    CREATE TABLE sandboxes (
      id TEXT PRIMARY KEY,
      status INTEGER NOT NULL,
      backend TEXT NOT NULL,
      policy_hash TEXT NOT NULL,
      policy_json TEXT NOT NULL,
      image_ref TEXT NOT NULL,
      image_digest TEXT NOT NULL,
      vcpus INTEGER NOT NULL,
      memory_mib INTEGER NOT NULL,
      disk_mib INTEGER NOT NULL,
      accelerator TEXT NOT NULL,
      keep INTEGER NOT NULL,
      ttl_minutes INTEGER NOT NULL,
      reason TEXT NOT NULL,
      console_tail TEXT NOT NULL,
      phases TEXT NOT NULL,
      created_us INTEGER NOT NULL,
      updated_us INTEGER NOT NULL,
      last_activity_us INTEGER NOT NULL,
      last_execution_id TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID;
    CREATE INDEX sandboxes_by_status ON sandboxes (status, updated_us);
    CREATE TABLE sandbox_events (
      sequence INTEGER PRIMARY KEY AUTOINCREMENT,
      sandbox_id TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
      status INTEGER NOT NULL,
      message TEXT NOT NULL,
      time_us INTEGER NOT NULL
    );
    CREATE INDEX sandbox_events_by_sandbox ON sandbox_events (sandbox_id, sequence);
    CREATE TABLE executions (
      id TEXT PRIMARY KEY,
      sandbox_id TEXT NOT NULL,
      status INTEGER NOT NULL,
      kind INTEGER NOT NULL,
      command TEXT NOT NULL,
      tty INTEGER NOT NULL,
      exit_code INTEGER NOT NULL,
      reason TEXT NOT NULL,
      phases TEXT NOT NULL,
      created_us INTEGER NOT NULL,
      started_us INTEGER NOT NULL,
      finished_us INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX executions_by_sandbox ON executions (sandbox_id, status);
    CREATE INDEX executions_by_status ON executions (status, finished_us);
    )sql",
    R"sql(
    ALTER TABLE sandbox_events ADD COLUMN network TEXT NOT NULL DEFAULT '';
    CREATE TABLE sandbox_network (
      sandbox_id TEXT PRIMARY KEY REFERENCES sandboxes (id) ON DELETE CASCADE,
      decisions TEXT NOT NULL
    ) WITHOUT ROWID;
    )sql",
    // Reasons were one text, "code: message".
    R"sql(
    ALTER TABLE sandboxes ADD COLUMN reason_code TEXT NOT NULL DEFAULT '';
    ALTER TABLE sandboxes ADD COLUMN remedy TEXT NOT NULL DEFAULT '';
    ALTER TABLE executions ADD COLUMN reason_code TEXT NOT NULL DEFAULT '';
    ALTER TABLE executions ADD COLUMN remedy TEXT NOT NULL DEFAULT '';
    CREATE TEMP TABLE known_codes (code TEXT PRIMARY KEY);
    INSERT INTO known_codes VALUES
      ('policy_invalid'), ('policy_conflict'), ('backend_unavailable'),
      ('backend_capability_mismatch'), ('failed_precondition'), ('host_not_allowed'),
      ('registry_not_allowed'), ('lockfile_violation'), ('secret_scope_violation'),
      ('runtime_launch_failed'), ('not_found'), ('already_exists'), ('invalid_argument'),
      ('resource_exhausted'), ('permission_denied'), ('unauthenticated'), ('upstream_error'),
      ('data_corrupt'), ('unavailable'), ('deadline_exceeded'), ('canceled'),
      ('unimplemented'), ('internal');
    UPDATE sandboxes SET
      reason_code = substr(reason, 1, instr(reason, ': ') - 1),
      reason = substr(reason, instr(reason, ': ') + 2)
      WHERE substr(reason, 1, instr(reason, ': ') - 1) IN (SELECT code FROM known_codes);
    UPDATE executions SET
      reason_code = substr(reason, 1, instr(reason, ': ') - 1),
      reason = substr(reason, instr(reason, ': ') + 2)
      WHERE substr(reason, 1, instr(reason, ': ') - 1) IN (SELECT code FROM known_codes);
    DROP TABLE known_codes;
    )sql",
    R"sql(
    ALTER TABLE sandboxes ADD COLUMN checkout TEXT NOT NULL DEFAULT '';
    )sql",
};

}  // namespace cleanroom::store
