#include "store/records.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/testing/result_matchers.h"
#include "store/schema.h"

namespace cleanroom::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const Checkout kCheckout = {.remote_url = "https://git.example/a.git",
                            .commit = std::string(40, 'c'),
                            .branch = "main",
                            .path = "/workspace",
                            .submodules = true,
                            .bundle = std::string(64, 'b')};

class RecordStoreTest : public testing::Test {
 protected:
  RecordStoreTest() {
    std::string name = testing::TempDir() + "records_XXXXXX";
    directory_ = mkdtemp(name.data());
    path_ = directory_ + "/records.db";
  }
  ~RecordStoreTest() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<RecordStore> Open() {
    auto store = RecordStore::Open(path_);
    EXPECT_TRUE(store.has_value()) << (store ? "" : store.error().ToString());
    return store ? std::move(*store) : nullptr;
  }

  static SandboxRecord Sandbox(const std::string& id, int64_t time_us = 1000) {
    SandboxRecord record;
    record.id = SandboxId(id);
    record.backend = "qemu";
    record.policy_hash = "abc";
    record.image_ref = "localhost/debian@sha256:00";
    record.vcpus = 2;
    record.memory_mib = 1024;
    record.ttl_minutes = 60;
    record.phases = {{"image", 1.5}};
    record.checkout = kCheckout;
    record.created_us = record.updated_us = record.last_activity_us = time_us;
    return record;
  }
  static ExecutionRecord Execution(const std::string& id, const std::string& sandbox_id) {
    ExecutionRecord record;
    record.id = ExecutionId(id);
    record.sandbox_id = SandboxId(sandbox_id);
    record.command = {"sh", "-c", "echo \"x\"\n"};
    record.created_us = 2000;
    return record;
  }

  std::string directory_;
  std::string path_;
};

TEST_F(RecordStoreTest, KeepsRecordsOverAReopen) {
  {
    auto store = Open();
    ASSERT_TRUE(store->InsertSandbox(Sandbox("a"), "creating"));
    ASSERT_TRUE(store->InsertExecution(Execution("e1", "a")));
  }
  auto store = Open();
  auto sandbox = store->GetSandbox(SandboxId("a"));
  ASSERT_TRUE(sandbox);
  EXPECT_EQ(sandbox->memory_mib, 1024);
  EXPECT_THAT(sandbox->phases, ElementsAre(Phase{"image", 1.5}));
  EXPECT_EQ(sandbox->checkout, kCheckout);
  EXPECT_EQ(sandbox->last_execution_id, "e1");
  EXPECT_EQ(sandbox->active_execution_id, "e1");
  EXPECT_EQ(sandbox->last_activity_us, 2000);
  auto execution = store->GetExecution(ExecutionId("e1"));
  ASSERT_TRUE(execution);
  EXPECT_THAT(execution->command, ElementsAre("sh", "-c", "echo \"x\"\n"));
}

TEST_F(RecordStoreTest, AcknowledgedRecordsSurviveAKill) {
  std::array<int, 2> ready{};
  ASSERT_EQ(pipe(ready.data()), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto store = RecordStore::Open(path_);
    const bool ok = store && (*store)->InsertSandbox(Sandbox("a"), "creating");
    (void)!write(ready[1], ok ? "y" : "n", 1);
    pause();
    _exit(0);
  }
  char answer = 0;
  ASSERT_EQ(read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  EXPECT_TRUE(Open()->GetSandbox(SandboxId("a")));
}

TEST_F(RecordStoreTest, FinalStatesNeverChange) {
  auto store = Open();
  SandboxRecord sandbox = Sandbox("a");
  ASSERT_TRUE(store->InsertSandbox(sandbox, "creating"));
  sandbox.status = SandboxStatus::kFailed;
  ASSERT_TRUE(store->UpdateSandbox(sandbox, "lost"));
  sandbox.status = SandboxStatus::kReady;
  auto refused = store->UpdateSandbox(sandbox);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(store->GetSandbox(SandboxId("a"))->status, SandboxStatus::kFailed);

  ExecutionRecord execution = Execution("e", "a");
  ASSERT_TRUE(store->InsertExecution(execution));
  execution.status = ExecutionStatus::kCanceled;
  ASSERT_TRUE(store->UpdateExecution(execution));
  execution.status = ExecutionStatus::kSucceeded;
  EXPECT_FALSE(store->UpdateExecution(execution));
  EXPECT_EQ(store->GetExecution(ExecutionId("e"))->status, ExecutionStatus::kCanceled);
}

TEST_F(RecordStoreTest, TellsWhatIsMissingAndWhatIsDouble) {
  auto store = Open();
  EXPECT_EQ(store->GetSandbox(SandboxId("x")).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(store->UpdateSandbox(Sandbox("x")).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(store->GetExecution(ExecutionId("x")).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(store->UpdateExecution(Execution("x", "a")).error().code(), ErrorCode::kNotFound);
  ASSERT_TRUE(store->InsertSandbox(Sandbox("a"), ""));
  EXPECT_EQ(store->InsertSandbox(Sandbox("a"), "").error().code(), ErrorCode::kAlreadyExists);
}

TEST_F(RecordStoreTest, WritesEventsWithChanges) {
  auto store = Open();
  SandboxRecord sandbox = Sandbox("a");
  ASSERT_TRUE(store->InsertSandbox(sandbox, "creating"));
  ASSERT_TRUE(store->UpdateSandbox(sandbox));  // no change of status, no message: no event
  sandbox.status = SandboxStatus::kReady;
  ASSERT_TRUE(store->UpdateSandbox(sandbox, "ready"));
  auto events = store->ListEvents(SandboxId("a"), 0, 100);
  ASSERT_TRUE(events);
  ASSERT_EQ(events->size(), 2U);
  EXPECT_EQ((*events)[0].message, "creating");
  EXPECT_EQ((*events)[1].status, SandboxStatus::kReady);
  EXPECT_EQ(store->ListEvents(SandboxId("a"), (*events)[0].sequence, 100)->size(), 1U);
  EXPECT_EQ(store->ListEvents(SandboxId("a"), 0, 1)->size(), 1U);
}

TEST_F(RecordStoreTest, ListsNewestFirst) {
  auto store = Open();
  for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(store->InsertSandbox(Sandbox(id), ""));
  SandboxRecord stopped = Sandbox("b");
  stopped.status = SandboxStatus::kStopped;
  ASSERT_TRUE(store->UpdateSandbox(stopped));
  auto live = store->ListSandboxes(RecordStore::Which::kLive);
  ASSERT_EQ(live->size(), 2U);
  EXPECT_EQ((*live)[0].id, "c");
  EXPECT_EQ(store->ListSandboxes(RecordStore::Which::kAll)->size(), 3U);

  ASSERT_TRUE(store->InsertExecution(Execution("e1", "a")));
  ASSERT_TRUE(store->InsertExecution(Execution("e2", "c")));
  EXPECT_EQ(store->ListExecutions(SandboxId(""), RecordStore::Which::kLive)->size(), 2U);
  auto of_a = store->ListExecutions(SandboxId("a"), RecordStore::Which::kAll);
  ASSERT_EQ(of_a->size(), 1U);
  EXPECT_EQ((*of_a)[0].id, "e1");
}

TEST_F(RecordStoreTest, PrunesTheOldestThatHaveEnded) {
  auto store = Open();
  for (int i = 0; i < 5; ++i) {
    SandboxRecord sandbox = Sandbox(std::string(1, static_cast<char>('a' + i)), 1000 + i);
    ASSERT_TRUE(store->InsertSandbox(sandbox, "creating"));
    if (i == 0) continue;  // the oldest is alive: it stays
    sandbox.status = SandboxStatus::kStopped;
    ASSERT_TRUE(store->UpdateSandbox(sandbox));
  }
  EXPECT_THAT(*store->PruneSandboxes(2), ElementsAre("c", "b"));
  EXPECT_EQ(store->ListSandboxes(RecordStore::Which::kAll)->size(), 3U);
  EXPECT_TRUE(store->ListEvents(SandboxId("b"), 0, 10)->empty());
  EXPECT_TRUE(store->GetSandbox(SandboxId("a")));
}

TEST_F(RecordStoreTest, KeepsWhyThingsEnded) {
  auto store = Open();
  SandboxRecord sandbox = Sandbox("a");
  ASSERT_TRUE(store->InsertSandbox(sandbox, "creating"));
  sandbox.status = SandboxStatus::kFailed;
  sandbox.reason = Reason::Of(Error(ErrorCode::kUnauthenticated, "no token").Remedy("Log in"));
  ExecutionRecord execution = Execution("e", "a");
  ASSERT_TRUE(store->InsertExecution(execution));
  execution.status = ExecutionStatus::kFailed;
  execution.reason = {std::nullopt, "x: no such program", ""};
  ASSERT_TRUE(store->UpdateExecution(execution));
  ASSERT_TRUE(store->UpdateSandbox(sandbox));
  EXPECT_EQ(store->GetSandbox(SandboxId("a"))->reason, sandbox.reason);
  EXPECT_EQ(sandbox.reason.ToString(), "unauthenticated: no token");
  EXPECT_EQ(store->GetExecution(ExecutionId("e"))->reason, execution.reason);
  EXPECT_EQ(execution.reason.ToString(), "x: no such program");
}

TEST_F(RecordStoreTest, ASandboxThatIsBeingSetUpIsLive) {
  auto store = Open();
  SandboxRecord sandbox = Sandbox("a");
  ASSERT_TRUE(store->InsertSandbox(sandbox, "creating"));
  sandbox.status = SandboxStatus::kSetup;
  ASSERT_TRUE(store->UpdateSandbox(sandbox, "setting up"));
  EXPECT_EQ(store->ListSandboxes(RecordStore::Which::kLive)->size(), 1U);
  EXPECT_TRUE(store->PruneSandboxes(0)->empty());
  sandbox.status = SandboxStatus::kReady;
  EXPECT_TRUE(store->UpdateSandbox(sandbox, "ready"));
}

// A state folder that an earlier release wrote, when a reason was one text.
TEST_F(RecordStoreTest, AdoptsReasonsOfEarlierReleases) {
  {
    auto old = Database::Open(path_, std::span(kMigrations).first(2));
    ASSERT_THAT(old, IsOk());
    const std::string sandbox =
        "INSERT INTO sandboxes (id, status, backend, policy_hash, policy_json, image_ref, "
        "image_digest, vcpus, memory_mib, disk_mib, accelerator, keep, ttl_minutes, reason, "
        "console_tail, phases, created_us, updated_us, last_activity_us) VALUES ('{}', 5, 'qemu', "
        "'', '', '', '', 1, 1, 1, 'tcg', 0, 60, '{}', '', '[]', 1, 1, 1);";
    const std::string execution =
        "INSERT INTO executions (id, sandbox_id, status, kind, command, tty, exit_code, reason, "
        "phases, created_us, started_us, finished_us) VALUES ('{}', 'a', 4, 1, '[\"x\"]', 0, 1, "
        "'{}', '[]', 1, 1, 1);";
    for (const std::string& sql :
         {fmt::format(fmt::runtime(sandbox), "a", "unavailable: the machine ended: by signal 9"),
          fmt::format(fmt::runtime(sandbox), "b", "terminated on request"),
          fmt::format(fmt::runtime(sandbox), "c", ""),
          fmt::format(fmt::runtime(execution), "e", "canceled: no"),
          fmt::format(fmt::runtime(execution), "f", "sh: cannot be run")}) {
      const auto written = (*old)->Execute(sql);
      ASSERT_THAT(written, IsOk());
    }
  }
  auto store = Open();
  EXPECT_EQ(store->GetSandbox(SandboxId("a"))->reason,
            (Reason{ErrorCode::kUnavailable, "the machine ended: by signal 9", ""}));
  EXPECT_EQ(store->GetSandbox(SandboxId("b"))->reason,
            (Reason{std::nullopt, "terminated on request", ""}));
  EXPECT_TRUE(store->GetSandbox(SandboxId("c"))->reason.empty());
  EXPECT_EQ(store->GetExecution(ExecutionId("e"))->reason,
            (Reason{ErrorCode::kCanceled, "no", ""}));
  EXPECT_EQ(store->GetExecution(ExecutionId("f"))->reason,
            (Reason{std::nullopt, "sh: cannot be run", ""}));
  EXPECT_EQ(store->ListSandboxes(RecordStore::Which::kAll)->size(), 3U);
}

TEST_F(RecordStoreTest, RefusesADamagedFileAndLeavesIt) {
  {
    std::ofstream(path_) << std::string(4096, 'x');
  }
  auto store = RecordStore::Open(path_);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code(), ErrorCode::kDataCorrupt);
  EXPECT_THAT(store.error().message(), HasSubstr(path_));
  EXPECT_EQ(std::filesystem::file_size(path_), 4096U);
}

TEST_F(RecordStoreTest, RefusesADamagedPage) {
  {
    auto store = Open();
    for (int i = 0; i < 200; ++i)
      ASSERT_TRUE(store->InsertSandbox(Sandbox("s" + std::to_string(i)), "x"));
  }
  ASSERT_TRUE(RecordStore::Checkpoint(path_));
  const auto size = std::filesystem::file_size(path_);
  ASSERT_GT(size, 8192U);
  {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096);
    file << std::string(size - 4096, '\x5a');
  }
  auto store = RecordStore::Open(path_);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code(), ErrorCode::kDataCorrupt);
  EXPECT_EQ(std::filesystem::file_size(path_), size);
}

TEST_F(RecordStoreTest, RefusesANewerSchema) {
  Open();
  {
    auto database = Database::Open(path_, {});
    EXPECT_EQ(database.error().code(), ErrorCode::kFailedPrecondition);
  }
}

TEST_F(RecordStoreTest, IsPrivateToItsOwner) {
  Open();
  struct stat info{};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(RecordStoreTest, CheckpointsWhileOpen) {
  auto store = Open();
  ASSERT_TRUE(store->InsertSandbox(Sandbox("a"), ""));
  EXPECT_TRUE(RecordStore::Checkpoint(path_));
  EXPECT_TRUE(store->GetSandbox(SandboxId("a")));
}

}  // namespace
}  // namespace cleanroom::store
