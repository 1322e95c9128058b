// Sandboxes: every sandbox of this host, live or on record.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/async.h"
#include "rpc/service.h"
#include "server/convert.h"
#include "server/sandboxes/live_sandbox.h"
#include "telemetry/metrics.h"

namespace cleanroom::server {

class Sandboxes : public telemetry::MetricsSource {
 public:
  // What `context` refers to outlives it.
  Sandboxes(asio::any_io_executor executor, SandboxContext context);

  // Told of every sandbox, in the order of the calls, which come before Recover and Create. It
  // outlives every sandbox: until Shutdown has returned.
  void AddObserver(SandboxObserver& observer) { observers_.Add(observer); }

  // Once, before serving: adopts the sandboxes whose wardens have outlived an earlier control
  // plane, ends what was half made, marks what is lost, and removes wardens and folders that no
  // record knows.
  Awaitable<Result<void>> Recover();

  // Checks that the host has room, persists the sandbox as PROVISIONING and begins to make it.
  Result<std::shared_ptr<LiveSandbox>> Create(LaunchPlan plan);

  // Null when there is none, or it has ended.
  std::shared_ptr<LiveSandbox> FindLive(const SandboxId& id) const;
  // The same, READY; not_found or failed_precondition otherwise, saying the state.
  Result<std::shared_ptr<LiveSandbox>> FindReady(const SandboxId& id) const;
  // One whose machine is gone, or that was asked to end, is STOPPING from that moment on, with the
  // reason.
  Result<store::SandboxRecord> Get(const SandboxId& id) const;
  Result<std::vector<store::SandboxRecord>> List(store::RecordStore::Which which) const;

  // Ends the sandbox and returns once it has ended; at once when it had. When the task is cancelled
  // the sandbox still ends.
  Awaitable<Result<store::SandboxRecord>> Terminate(SandboxId id, Error why);
  // Replays the events and, with `follow`, goes on until the sandbox has ended.
  Awaitable<Result<void>> StreamEvents(SandboxId id, bool follow,
                                       rpc::Writer<v1::SandboxEvent>& out);

  // Ends those that were idle for longer than their limit.
  void ReapIdle();
  // Ends all and waits for it; nothing can be created any more.
  Awaitable<void> Shutdown();

  // How many have not ended, by status.
  void WriteMetrics(telemetry::MetricsText& out) const override;
  size_t live() const { return live_.size(); }
  // Whether one is on its way.
  bool creating() const;

 private:
  Awaitable<void> RunCreate(std::shared_ptr<LiveSandbox> sandbox, LaunchPlan plan,
                            std::optional<Spare> spare);
  Awaitable<void> RunAdopt(std::shared_ptr<LiveSandbox> sandbox, WardenProcess warden);
  Awaitable<void> SettleLost(store::SandboxRecord record);
  Awaitable<void> RemoveStrays();
  void Forget(const SandboxId& id);
  void ShowEnding(store::SandboxRecord& record) const;

  asio::any_io_executor executor_;
  SandboxContext context_;
  SandboxObservers observers_;
  TaskScope lives_;
  std::map<SandboxId, std::shared_ptr<LiveSandbox>> live_;
  bool shutting_down_ = false;
};

}  // namespace cleanroom::server
