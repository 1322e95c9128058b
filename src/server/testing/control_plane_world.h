// A control plane's worth of state for tests: records, processes and links that are real, and a
// warden whose machine is not (fake_warden).
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/id.h"
#include "os/file.h"
#include "server/api/execution_service.h"
#include "server/executions/executions.h"
#include "server/network/network_records.h"
#include "server/sandboxes/sandboxes.h"

namespace cleanroom::server {

class FakeResources : public LaunchResources {
 public:
  std::shared_ptr<void> UseImage(const std::string&) override { return nullptr; }
  Awaitable<Result<LaunchImage>> Image(std::string, ProgressFn) override {
    LaunchImage image;
    image.path = "image";
    co_return image;
  }
  Awaitable<Result<LaunchMachine>> Machine(std::string, ProgressFn) override {
    LaunchMachine machine;
    machine.kernel_path = kernel;
    machine.accelerator = "tcg";
    co_return machine;
  }
  Awaitable<Result<void>> MakeDisk(std::string path, int64_t) override {
    co_return os::WriteFileAtomic(path, "disk");
  }
  Result<HostRoom> Room() override { return room; }

  std::string kernel;
  HostRoom room{.memory_mib = 100'000, .disk_mib = 100'000};
};

// One repository, which has every commit; its layers are an empty file.
class FakeCheckouts : public Checkouts {
 public:
  Result<git::RemoteUrl> Remote(const std::string& url) const override {
    return git::RemoteUrl::Parse(url);
  }
  Awaitable<Result<store::Checkout>> Resolve(CheckoutWish wish, ProgressFn) override {
    if (!failure.message().empty()) co_return Err(failure);
    store::Checkout checkout;
    checkout.remote_url = wish.remote_url;
    checkout.commit = wish.commit.empty() ? std::string(40, 'c') : wish.commit;
    checkout.branch = wish.branch;
    co_return checkout;
  }
  Awaitable<Result<store::Checkout>> ResolveBundle(
      CheckoutWish wish, std::shared_ptr<const v1::RepositoryCommitBundle> bundle,
      ProgressFn progress) override {
    auto checkout = co_await Resolve(std::move(wish), std::move(progress));
    if (checkout) checkout->bundle = bundle->digest();
    co_return checkout;
  }
  Awaitable<Result<std::string>> ReadFile(store::Checkout, std::string path) override {
    if (path == policy_file) co_return policy;
    co_return Err(ErrorCode::kNotFound, "there is no such file");
  }
  Awaitable<Result<CheckoutLayers>> Layers(store::Checkout, CheckoutOwner, ProgressFn) override {
    if (!layers_failure.message().empty()) co_return Err(layers_failure);
    CheckoutLayers layers;
    CR_CO_TRY_ASSIGN(os::UniqueFd file, os::Open("/dev/null", O_RDONLY));
    layers.files.push_back(std::move(file));
    layers.warnings = {"one warning"};
    co_return layers;
  }

  Awaitable<Result<ChangedFiles>> Apply(store::Checkout,
                                        std::shared_ptr<const v1::RepositoryChangeset>,
                                        ProgressFn) override {
    ChangedFiles files;
    files.removed = {"gone"};
    co_return files;
  }

  Error failure{ErrorCode::kInternal, ""};         // of resolving
  Error layers_failure{ErrorCode::kInternal, ""};  // of making layers
  std::string policy_file, policy;                 // of every commit
};

// One template, or none.
class FakeWarm : public NoWarmStart {
 public:
  Awaitable<std::optional<vmm::Template>> Find(MachineShape) override { co_return found; }
  Awaitable<void> Distrust(MachineShape) override {
    ++distrusted;
    co_return;
  }

  std::optional<vmm::Template> found;
  int distrusted = 0;
};

// What a stream of an execution told.
class Collector : public rpc::MessageSink {
 public:
  Awaitable<Result<void>> Write(const rpc::Message& message) override {
    messages.push_back(message.SerializeAsString());
    co_return Result<void>();
  }
  std::string Stdout() const {
    std::string text;
    for (const std::string& bytes : messages) {
      v1::ExecutionStreamEvent event;
      event.ParseFromString(bytes);
      text += event.stdout();
    }
    return text;
  }
  v1::ExecutionStreamEvent Last() const {
    v1::ExecutionStreamEvent event;
    event.ParseFromString(messages.back());
    return event;
  }
  std::vector<std::string> messages;
};

// One control plane's worth of state, on folders that may have been used before.
struct Plane {
  explicit Plane(const std::string& folder) : layout(folder) {
    settings.state_dir = folder;
    settings.warden_program = FAKE_WARDEN;
    settings.stop_grace = std::chrono::milliseconds(200);
    std::filesystem::create_directories(layout.Sandboxes());
    std::filesystem::create_directories(layout.Executions());
    store = std::move(*store::RecordStore::Open(layout.Records()));
    const WallClock clock = [this] { return now; };
    sandboxes = std::make_unique<Sandboxes>(
        io.get_executor(),
        SandboxContext{*store, resources, warm, checkouts, pool, settings, layout, clock,
                       [this] { return std::chrono::steady_clock::time_point(passed()); }});
    executions = std::make_unique<Executions>(io.get_executor(), *store, pool, *sandboxes, settings,
                                              layout, clock);
    network =
        std::make_unique<NetworkRecords>(io.get_executor(), *store, pool, settings, layout, clock);
    network->Start();
    sandboxes->AddObserver(*executions);
    sandboxes->AddObserver(*network);
  }
  ~Plane() { Run(Finish()); }
  Awaitable<void> Finish() {
    co_await sandboxes->Shutdown();
    co_await executions->Shutdown();
    co_await network->Shutdown();
  }
  // Runs the task to its end, and whatever else is ready.
  void Run(Awaitable<void> task) {
    scope.Spawn(std::move(task));
    io.restart();
    while (scope.size() > 0) io.run_one();
    io.poll();
  }
  LaunchPlan Plan() const {
    LaunchPlan plan;
    plan.record.id = SandboxId::New(now);
    plan.record.backend = "qemu";
    plan.record.memory_mib = 256;
    plan.record.ttl_minutes = 60;
    plan.record.created_us = plan.record.updated_us = plan.record.last_activity_us = MicrosOf(now);
    plan.boot_limit = std::chrono::seconds(5);
    return plan;
  }
  ExecutionPlan Command(const SandboxId& sandbox, std::vector<std::string> argv) const {
    v1::CreateExecutionRequest request;
    request.set_sandbox_id(sandbox.text());
    for (std::string& word : argv) request.add_command(std::move(word));
    return *PlanExecution(request, now);
  }
  Awaitable<void> AwaitCreated(std::shared_ptr<LiveSandbox> sandbox) {
    while (!sandbox->ready() && !sandbox->ended()) co_await sandbox->changed().Wait();
  }
  SandboxId MakeReady() {
    auto sandbox = sandboxes->Create(Plan());
    EXPECT_TRUE(sandbox);
    Run(AwaitCreated(*sandbox));
    EXPECT_TRUE((*sandbox)->ready()) << (*sandbox)->record().reason.ToString();
    return (*sandbox)->id();
  }
  Awaitable<void> DoExec(ExecutionPlan plan, ExecutionId* id, Collector* out) {
    auto record = co_await executions->Create(std::move(plan));
    EXPECT_TRUE(record) << (record ? "" : record.error().ToString());
    if (!record) co_return;
    *id = record->id;
    if (out == nullptr) co_return;
    rpc::Writer<v1::ExecutionStreamEvent> writer(*out);
    auto streamed =
        co_await executions->Stream(SandboxId(), record->id, Executions::Follow::kYes, writer);
    EXPECT_TRUE(streamed) << (streamed ? "" : streamed.error().ToString());
  }
  Awaitable<void> DoTerminate(SandboxId id) {
    auto record =
        co_await sandboxes->Terminate(id, Error(ErrorCode::kCanceled, "terminated on request"));
    EXPECT_TRUE(record);
    if (!record) co_return;
    EXPECT_TRUE(store::IsFinal(record->status));
  }
  Awaitable<void> DoRecover() {
    auto recovered = co_await sandboxes->Recover();
    EXPECT_TRUE(recovered);
  }
  Awaitable<void> DoStream(ExecutionId id, Collector* out) {
    rpc::Writer<v1::ExecutionStreamEvent> writer(*out);
    auto streamed = co_await executions->Stream(SandboxId(), id, Executions::Follow::kYes, writer);
    EXPECT_TRUE(streamed) << (streamed ? "" : streamed.error().ToString());
  }
  Awaitable<void> DoCancel(ExecutionId id) {
    auto answer = co_await executions->Cancel(SandboxId(), id, 0);
    EXPECT_TRUE(answer);
    if (!answer) co_return;
    EXPECT_TRUE(answer->accepted);
  }

  Layout layout;
  Settings settings;
  // Since an hour before the test began, without what the wall clock alone has jumped.
  std::chrono::system_clock::duration passed() const {
    return now - jumped - began + std::chrono::hours(1);
  }

  const std::chrono::system_clock::time_point began = std::chrono::system_clock::now();
  std::chrono::system_clock::time_point now = began;
  std::chrono::system_clock::duration jumped{0};
  asio::io_context io{1};
  BlockingPool pool{1};
  FakeResources resources;
  FakeCheckouts checkouts;
  FakeWarm warm;
  std::unique_ptr<store::RecordStore> store;
  std::unique_ptr<Sandboxes> sandboxes;
  std::unique_ptr<Executions> executions;
  std::unique_ptr<NetworkRecords> network;
  TaskScope scope{io.get_executor()};
};

}  // namespace cleanroom::server
