// The life of sandboxes and commands, with records, processes and links that are real and a warden
// whose machine is not (testing/fake_warden.cc).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <boost/asio/io_context.hpp>
#include <csignal>
#include <filesystem>

#include "base/id.h"
#include "capability/capability.h"
#include "os/file.h"
#include "policy/capability.h"
#include "server/api/execution_service.h"
#include "server/api/sandbox_service.h"
#include "server/executions/executions.h"
#include "server/sandboxes/sandboxes.h"
#include "server/testing/control_plane_world.h"

namespace cleanroom::server {
namespace {

using std::chrono::system_clock;
using store::ExecutionStatus;
using store::SandboxStatus;
using testing::HasSubstr;

Result<WardenProcess> StartFake(const Layout& layout, const SandboxId& id) {
  return WardenProcess::Start({.program = FAKE_WARDEN,
                               .sandbox_id = id,
                               .folder = layout.Sandbox(id),
                               .readable = {},
                               .writable = {},
                               .user = {}});
}

class LifecycleTest : public testing::Test {
 protected:
  // A warden appears when its execve is through.
  void AwaitWarden(const Plane& plane) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (FindWardens(plane.layout.Sandboxes()).empty() &&
           std::chrono::steady_clock::now() < deadline) {
      sched_yield();
    }
    ASSERT_EQ(FindWardens(plane.layout.Sandboxes()).size(), 1U);
  }
  void ExpectNothingLeft(const Plane& plane, const SandboxId& id) {
    EXPECT_FALSE(std::filesystem::exists(plane.layout.Sandbox(id)));
    EXPECT_TRUE(FindWardens(plane.layout.Sandboxes()).empty());
  }
  os::TempDir folder_ = std::move(*os::TempDir::Create());
};

TEST_F(LifecycleTest, CreatesRunsAndTerminates) {
  Plane plane(folder_.path());
  const SandboxId id = plane.MakeReady();
  EXPECT_EQ(plane.store->GetSandbox(id)->status, SandboxStatus::kReady);
  EXPECT_EQ(FindWardens(plane.layout.Sandboxes()).size(), 1U);

  ExecutionId execution;
  Collector out;
  plane.Run(plane.DoExec(plane.Command(id, {"say", "hello"}), &execution, &out));
  EXPECT_EQ(out.Stdout(), "hello");
  EXPECT_EQ(out.Last().exit().status(), v1::EXECUTION_STATUS_SUCCEEDED);
  EXPECT_EQ(plane.store->GetSandbox(id)->last_execution_id, execution);

  plane.Run(plane.DoTerminate(id));
  plane.Run(plane.DoTerminate(id));  // idempotent
  EXPECT_EQ(plane.store->GetSandbox(id)->status, SandboxStatus::kStopped);
  ExpectNothingLeft(plane, id);

  // The output outlives the sandbox.
  Collector again;
  plane.Run(plane.DoStream(execution, &again));
  EXPECT_EQ(again.Stdout(), "hello");
  EXPECT_EQ(again.Last().exit().exit_code(), 0);
}

TEST_F(LifecycleTest, PassesExitCodesThrough) {
  Plane plane(folder_.path());
  const SandboxId id = plane.MakeReady();
  ExecutionId execution;
  Collector out;
  plane.Run(plane.DoExec(plane.Command(id, {"exit", "42"}), &execution, &out));
  EXPECT_EQ(out.Last().exit().exit_code(), 42);
  EXPECT_EQ(plane.store->GetExecution(execution)->status, ExecutionStatus::kFailed);
}

TEST_F(LifecycleTest, CancelledCommandEndsAndStaysCanceled) {
  Plane plane(folder_.path());
  const SandboxId id = plane.MakeReady();
  ExecutionId execution;
  plane.Run(plane.DoExec(plane.Command(id, {"wait"}), &execution, nullptr));
  EXPECT_EQ(plane.store->GetSandbox(id)->active_execution_id, execution);
  plane.Run(plane.DoCancel(execution));
  Collector out;
  plane.Run(plane.DoStream(execution, &out));
  EXPECT_EQ(plane.store->GetExecution(execution)->status, ExecutionStatus::kCanceled);
  EXPECT_EQ(out.Last().exit().exit_code(), 128 + SIGTERM);
}

TEST_F(LifecycleTest, FailedLaunchLeavesOnlyItsRecord) {
  Plane plane(folder_.path());
  for (const char* fault : {"fail", "die"}) {
    plane.resources.kernel = fault;
    auto sandbox = plane.sandboxes->Create(plane.Plan());
    ASSERT_TRUE(sandbox);
    plane.Run(plane.AwaitCreated(*sandbox));
    const auto record = plane.store->GetSandbox((*sandbox)->id());
    EXPECT_EQ(record->status, SandboxStatus::kFailed);
    EXPECT_THAT(record->reason.ToString(), HasSubstr("runtime_launch_failed")) << fault;
    ExpectNothingLeft(plane, (*sandbox)->id());
  }
}

TEST_F(LifecycleTest, StoppedLaunchLeavesNothing) {
  Plane plane(folder_.path());
  plane.resources.kernel = "hang";
  auto sandbox = plane.sandboxes->Create(plane.Plan());
  ASSERT_TRUE(sandbox);
  while (!(*sandbox)->channel()) plane.io.run_one();
  plane.Run(plane.DoTerminate((*sandbox)->id()));
  EXPECT_EQ(plane.store->GetSandbox((*sandbox)->id())->status, SandboxStatus::kStopped);
  ExpectNothingLeft(plane, (*sandbox)->id());
}

TEST_F(LifecycleTest, RefusesWithoutRoom) {
  Plane plane(folder_.path());
  plane.resources.room.memory_mib = 100;
  const auto sandbox = plane.sandboxes->Create(plane.Plan());
  ASSERT_FALSE(sandbox);
  EXPECT_EQ(sandbox.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_TRUE(plane.store->ListSandboxes(store::RecordStore::Which::kAll)->empty());
}

TEST_F(LifecycleTest, DeadWardenFailsItsSandboxAndCommands) {
  Plane plane(folder_.path());
  const SandboxId id = plane.MakeReady();
  ExecutionId execution;
  plane.Run(plane.DoExec(plane.Command(id, {"wait"}), &execution, nullptr));
  auto sandbox = plane.sandboxes->FindLive(id);
  kill(FindWardens(plane.layout.Sandboxes())[0].pid, SIGKILL);
  Collector out;
  plane.Run(plane.DoStream(execution, &out));  // ends when the command is settled
  EXPECT_EQ(out.Stdout(), "waiting");
  EXPECT_EQ(out.Last().exit().status(), v1::EXECUTION_STATUS_FAILED);
  while (!sandbox->ended()) plane.io.run_one();
  EXPECT_EQ(plane.store->GetSandbox(id)->status, SandboxStatus::kFailed);
  ExpectNothingLeft(plane, id);
}

TEST_F(LifecycleTest, IdleSandboxIsReapedUnlessKeptOrBusy) {
  Plane plane(folder_.path());
  const SandboxId id = plane.MakeReady();
  auto sandbox = plane.sandboxes->FindLive(id);
  ExecutionId execution;
  plane.Run(plane.DoExec(plane.Command(id, {"wait"}), &execution, nullptr));
  plane.now += std::chrono::minutes(61);
  plane.sandboxes->ReapIdle();
  EXPECT_TRUE(sandbox->ready());  // busy
  plane.Run(plane.DoCancel(execution));
  Collector out;
  plane.Run(plane.DoStream(execution, &out));
  plane.now += std::chrono::minutes(59);
  plane.sandboxes->ReapIdle();
  EXPECT_TRUE(sandbox->ready());  // not idle for long enough
  plane.now += std::chrono::minutes(2);
  plane.sandboxes->ReapIdle();
  EXPECT_FALSE(sandbox->ready());
  while (!sandbox->ended()) plane.io.run_one();
  EXPECT_THAT(plane.store->GetSandbox(id)->reason.ToString(), HasSubstr("idle"));
}

TEST_F(LifecycleTest, RecoversFromLostWardensAndStrays) {
  const SandboxId lost(NewId());
  const SandboxId stray(NewId());
  Plane plane(folder_.path());
  store::SandboxRecord record;
  record.id = lost;
  record.status = SandboxStatus::kReady;
  ASSERT_TRUE(plane.store->InsertSandbox(record, "ready"));
  std::filesystem::create_directories(plane.layout.Sandbox(lost));
  std::filesystem::create_directories(plane.layout.Sandbox(stray));
  auto orphan = StartFake(plane.layout, stray);
  ASSERT_TRUE(orphan);
  AwaitWarden(plane);
  plane.Run(plane.DoRecover());
  EXPECT_EQ(plane.store->GetSandbox(lost)->status, SandboxStatus::kFailed);
  EXPECT_THAT(plane.store->GetSandbox(lost)->reason.ToString(), HasSubstr("lost"));
  EXPECT_TRUE(std::filesystem::is_empty(plane.layout.Sandboxes()));
  EXPECT_TRUE(FindWardens(plane.layout.Sandboxes()).empty());
}

TEST_F(LifecycleTest, AdoptsWhatOutlivedAControlPlane) {
  const SandboxId id(NewId());
  Plane plane(folder_.path());
  store::SandboxRecord record;
  record.id = id;
  record.status = SandboxStatus::kReady;
  ASSERT_TRUE(plane.store->InsertSandbox(record, "ready"));
  std::filesystem::create_directories(plane.layout.LiveOutputs(id));
  auto warden = StartFake(plane.layout, id);
  ASSERT_TRUE(warden);
  AwaitWarden(plane);
  plane.Run(plane.DoRecover());
  ASSERT_TRUE(plane.sandboxes->FindLive(id));
  ExecutionId ran;
  Collector out;
  plane.Run(plane.DoExec(plane.Command(id, {"say", "still here"}), &ran, &out));
  EXPECT_EQ(out.Stdout(), "still here");
  plane.Run(plane.DoTerminate(id));
  ExpectNothingLeft(plane, id);
}

// A caller of CreateSandbox or CreateSandboxStream who leaves at a chosen moment.
class LeavingCaller : public rpc::MessageSource, public rpc::MessageSink {
 public:
  LeavingCaller(Plane& plane, std::string_view procedure)
      : plane_(plane),
        service_(
            *plane.sandboxes, *plane.network, plane.checkouts, plane.settings,
            [&] { return plane.now; }, Capabilities()) {
    service_.Register(router_);
    procedure_ = router_.Find(procedure);
    const auto policy =
        policy::PolicyForImage("registry.example/debian@sha256:" + std::string(64, 'a'));
    request_.mutable_policy()->set_canonical_json(policy->CanonicalJson());
    call_.Spawn(Call());
  }
  Awaitable<Result<bool>> Next(rpc::Message& out) override {
    co_return out.ParseFromString(request_.SerializeAsString());
  }
  // Whoever is gone cannot be written to.
  Awaitable<Result<void>> Write(const rpc::Message& message) override {
    const bool answer = IsAnswer(message);
    v1::CreateSandboxEvent event;
    if (first_id.empty() && event.ParseFromString(message.SerializeAsString()))
      first_id = event.sandbox_id();
    if (answer && gone_before_answer) co_return Err(ErrorCode::kCanceled, "the call was cancelled");
    answered = answered || answer;
    co_return Result<void>();
  }
  std::shared_ptr<LiveSandbox> RunUntilMade() {
    while (waiting() && plane_.store->ListSandboxes(store::RecordStore::Which::kLive)->empty()) {
      plane_.io.run_one();
    }
    const auto records = plane_.store->ListSandboxes(store::RecordStore::Which::kLive);
    if (records->empty()) return nullptr;
    return plane_.sandboxes->FindLive(records->front().id);
  }
  void RunUntilOver() {
    while (call_.size() > 0) plane_.io.run_one();
  }
  void Leave() { call_.Cancel(); }
  bool waiting() const { return call_.size() > 0; }

  std::string first_id;  // told with the first message
  bool gone_before_answer = false;
  bool answered = false;

 private:
  static std::set<std::string> Capabilities() {
    using namespace capability;
    return {std::string(kNetworkDenyAll), std::string(kResources), std::string(kTtl)};
  }
  static bool IsAnswer(const rpc::Message& message) {
    if (message.GetTypeName() == "cleanroom.v1.CreateSandboxResponse") return true;
    v1::CreateSandboxEvent event;
    return event.ParseFromString(message.SerializeAsString()) && event.has_created();
  }
  Awaitable<void> Call() {
    rpc::CallContext context;
    auto outcome = co_await procedure_->handler(context, *this, *this);
    EXPECT_EQ(outcome.has_value(), answered) << (outcome ? "" : outcome.error().ToString());
  }

  Plane& plane_;
  SandboxService service_;
  rpc::Router router_;
  const rpc::Procedure* procedure_ = nullptr;
  v1::CreateSandboxRequest request_;
  TaskScope call_{plane_.io.get_executor()};
};

TEST_F(LifecycleTest, CallerWhoStaysIsToldOfTheSandbox) {
  for (const auto method :
       {v1::SandboxStub::kCreateSandbox, v1::SandboxStub::kCreateSandboxStream}) {
    Plane plane(folder_.path());
    LeavingCaller caller(plane, method);
    const auto sandbox = caller.RunUntilMade();
    ASSERT_TRUE(sandbox) << method;
    caller.RunUntilOver();
    EXPECT_TRUE(caller.answered) << method;
    EXPECT_TRUE(sandbox->ready()) << method;
    plane.Run(plane.DoTerminate(sandbox->id()));
  }
}

TEST_F(LifecycleTest, SandboxOfACallerWhoLeftAsItBecameReadyIsStopped) {
  for (const auto method :
       {v1::SandboxStub::kCreateSandbox, v1::SandboxStub::kCreateSandboxStream}) {
    Plane plane(folder_.path());
    LeavingCaller caller(plane, method);
    const auto sandbox = caller.RunUntilMade();
    ASSERT_TRUE(sandbox) << method;
    while (!sandbox->ready() && !sandbox->ended()) plane.io.run_one();
    ASSERT_TRUE(sandbox->ready()) << sandbox->record().reason.ToString();
    ASSERT_TRUE(caller.waiting()) << method;
    // Long before the answer; the unary call has but one message.
    const bool streams = method == std::string_view(v1::SandboxStub::kCreateSandboxStream);
    EXPECT_EQ(caller.first_id, streams ? sandbox->id().text() : "");
    caller.Leave();
    caller.RunUntilOver();
    EXPECT_FALSE(caller.answered) << method;
    while (!sandbox->ended()) plane.io.run_one();
    EXPECT_EQ(plane.store->GetSandbox(sandbox->id())->status, SandboxStatus::kStopped);
    ExpectNothingLeft(plane, sandbox->id());
  }
}

TEST_F(LifecycleTest, SandboxWhoseCallerCannotBeToldIsStopped) {
  Plane plane(folder_.path());
  LeavingCaller caller(plane, v1::SandboxStub::kCreateSandboxStream);
  caller.gone_before_answer = true;
  const auto sandbox = caller.RunUntilMade();
  ASSERT_TRUE(sandbox);
  caller.RunUntilOver();
  while (!sandbox->ended()) plane.io.run_one();
  EXPECT_THAT(plane.store->GetSandbox(sandbox->id())->reason.ToString(), HasSubstr("went away"));
  ExpectNothingLeft(plane, sandbox->id());
}

}  // namespace
}  // namespace cleanroom::server
