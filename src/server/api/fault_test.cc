// What goes wrong around a sandbox: copies that do not run, ends that meet, records and files of
// the dead. With the fake warden (testing/fake_warden.cc).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <utility>

#include "base/id.h"
#include "os/file.h"
#include "server/testing/control_plane_world.h"
#include "warden_link/spool.h"

namespace cleanroom::server {
namespace {

using store::SandboxStatus;
using testing::HasSubstr;

class FaultTest : public testing::Test {
 protected:
  static void UseTemplate(Plane& plane, const std::string& folder) {
    ASSERT_TRUE(os::WriteFileAtomic(folder + "/template-disk", "disk"));
    plane.warm.found = vmm::Template{.key = "key",
                                     .folder = folder,
                                     .memory_file = folder + "/memory",
                                     .state_file = folder + "/state",
                                     .disk_file = folder + "/template-disk"};
  }
  store::SandboxRecord AddRecord(Plane& plane, SandboxStatus status) {
    store::SandboxRecord record;
    record.id = SandboxId(NewId());
    record.status = status;
    EXPECT_TRUE(plane.store->InsertSandbox(record, "made"));
    std::filesystem::create_directories(plane.layout.LiveOutputs(record.id));
    return record;
  }
  os::TempDir folder_ = std::move(*os::TempDir::Create());
};

TEST_F(FaultTest, ACopyThatFailsIsReplacedByABootAndDistrusted) {
  Plane plane(folder_.path());
  UseTemplate(plane, folder_.path());
  plane.resources.kernel = "fail-copy";
  plane.MakeReady();
  EXPECT_EQ(plane.warm.distrusted, 1);
}

TEST_F(FaultTest, WhatFailsOfTheHostLeavesTheTemplateAlone) {
  Plane plane(folder_.path());
  UseTemplate(plane, folder_.path());
  plane.resources.kernel = "fail-host";
  plane.MakeReady();  // the boot does not fail
  EXPECT_EQ(plane.warm.distrusted, 0);
}

TEST_F(FaultTest, AFailureThatIsFollowedByAnEndKeepsItsReason) {
  Plane plane(folder_.path());
  const SandboxId id = plane.MakeReady();
  auto sandbox = plane.sandboxes->FindLive(id);
  kill(FindWardens(plane.layout.Sandboxes())[0].pid, SIGKILL);
  while (sandbox->ready()) plane.io.run_one();
  // From here on it is told as what it is, while it is cleared away.
  const auto shown = plane.sandboxes->Get(id);
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->status, SandboxStatus::kStopping);
  EXPECT_THAT(shown->reason.ToString(), HasSubstr("warden"));
  const auto refused = plane.sandboxes->FindReady(id);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("is STOPPING, not READY"));
  sandbox->RequestStop(Error(ErrorCode::kCanceled, "the caller went away"));
  while (!sandbox->ended()) plane.io.run_one();
  const auto record = plane.store->GetSandbox(id);
  EXPECT_EQ(record->status, SandboxStatus::kFailed);
  EXPECT_THAT(record->reason.ToString(), HasSubstr("warden"));
}

TEST_F(FaultTest, TheWardensLastWordsCountAfterARestart) {
  Plane plane(folder_.path());
  const auto record = AddRecord(plane, SandboxStatus::kReady);
  pb::WardenState state;
  state.set_phase(pb::WardenState::PHASE_FAILED);
  // As a warden of an earlier release says it.
  state.set_reason("unavailable: the guest's kernel panicked: out of cheese");
  state.set_console_tail("Kernel panic - not syncing");
  ASSERT_TRUE(
      os::WriteFileAtomic(plane.layout.Sandbox(record.id) + "/end", state.SerializeAsString()));
  plane.Run(plane.DoRecover());
  const auto settled = plane.store->GetSandbox(record.id);
  EXPECT_EQ(settled->status, SandboxStatus::kFailed);
  EXPECT_EQ(settled->reason.ToString(), state.reason());
  EXPECT_EQ(settled->console_tail, state.console_tail());
  EXPECT_FALSE(std::filesystem::exists(plane.layout.Sandbox(record.id)));
}

TEST_F(FaultTest, OutputIsKeptForAsLongAsItsRecordIs) {
  Plane plane(folder_.path());
  plane.settings.keep_executions = 1;
  const SandboxId id = plane.MakeReady();
  ExecutionId first;
  ExecutionId second;
  Collector out;
  plane.Run(plane.DoExec(plane.Command(id, {"say", "one"}), &first, &out));
  plane.now += std::chrono::seconds(1);
  plane.Run(plane.DoExec(plane.Command(id, {"say", "two"}), &second, &out));
  plane.Run(plane.DoTerminate(id));
  EXPECT_FALSE(plane.store->GetExecution(first));
  EXPECT_FALSE(std::filesystem::exists(plane.layout.KeptOutput(first)));
  EXPECT_FALSE(std::filesystem::exists(plane.layout.Observability(first)));
  EXPECT_TRUE(std::filesystem::exists(plane.layout.KeptOutput(second)));
  EXPECT_TRUE(std::filesystem::exists(plane.layout.Observability(second)));

  // What a daemon that was killed had no time to remove.
  const ExecutionId stray(NewId());
  ASSERT_TRUE(os::WriteFileAtomic(plane.layout.KeptOutput(stray), "x"));
  std::filesystem::create_directories(plane.layout.Observability(stray));
  plane.Run(plane.executions->RemoveStrays());
  EXPECT_FALSE(std::filesystem::exists(plane.layout.KeptOutput(stray)));
  EXPECT_FALSE(std::filesystem::exists(plane.layout.Observability(stray)));
  EXPECT_TRUE(std::filesystem::exists(plane.layout.KeptOutput(second)));
}

TEST_F(FaultTest, SandboxesAreKeptOnRecordUpToTheLimit) {
  Plane plane(folder_.path());
  plane.settings.keep_sandboxes = 2;
  std::vector<SandboxId> ids;
  for (int i = 0; i < 4; ++i) {
    ids.push_back(plane.MakeReady());
    plane.Run(plane.DoTerminate(ids.back()));
    plane.now += std::chrono::seconds(1);
  }
  EXPECT_FALSE(plane.store->GetSandbox(ids[0]));
  EXPECT_FALSE(plane.store->GetSandbox(ids[1]));
  EXPECT_TRUE(plane.store->GetSandbox(ids[2]));
  EXPECT_TRUE(plane.store->GetSandbox(ids[3]));
}

TEST_F(FaultTest, AJumpOfTheWallClockMakesNobodyIdle) {
  Plane plane(folder_.path());
  const SandboxId id = plane.MakeReady();
  const auto sandbox = plane.sandboxes->FindLive(id);
  for (const auto jump : {std::chrono::hours(24 * 365), -std::chrono::hours(24 * 700)}) {
    plane.now += jump;
    plane.jumped += jump;
    plane.sandboxes->ReapIdle();
    EXPECT_TRUE(sandbox->ready());
  }
  plane.now += std::chrono::minutes(61);
  plane.sandboxes->ReapIdle();
  EXPECT_FALSE(sandbox->ready()) << "an hour is an hour, whatever the wall clock says";
  while (!sandbox->ended()) plane.io.run_one();
}

TEST_F(FaultTest, AKeptSandboxIsNeverReaped) {
  Plane plane(folder_.path());
  LaunchPlan plan = plane.Plan();
  plan.record.keep = true;
  auto sandbox = plane.sandboxes->Create(std::move(plan));
  ASSERT_TRUE(sandbox);
  plane.Run(plane.AwaitCreated(*sandbox));
  plane.now += std::chrono::hours(24 * 365);
  plane.sandboxes->ReapIdle();
  EXPECT_TRUE((*sandbox)->ready());
}

}  // namespace
}  // namespace cleanroom::server
