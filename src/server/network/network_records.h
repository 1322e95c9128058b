// NetworkRecords: the network decisions of all sandboxes of this host, taken from their wardens to
// the audit log, the API's streams, the sandboxes' events and the metrics.
//
// For each sandbox a task follows its warden. Records are numbered there, and the number of the
// last one in the audit log is kept in the sandbox's folder, so that a restart of the control plane
// neither loses nor, unless it was killed between the two writes, repeats a line; lines carry the
// number, so a repeated one can be told. When a sandbox has ended, what its warden left in its
// spool is read before the folder goes.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/async.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "rpc/service.h"
#include "server/convert.h"
#include "server/network/audit_log.h"
#include "server/network/network_decision.h"
#include "server/network/network_history.h"
#include "server/network/network_metrics.h"
#include "server/sandboxes/live_sandbox.h"
#include "telemetry/metrics.h"

namespace cleanroom::server {

// Lines that wait for the audit log; beyond them wardens are not read, whose spools are bounded.
inline constexpr size_t kMaxAuditQueue = 4096;
// Refusals of one sandbox that become events of it.
inline constexpr size_t kMaxNetworkEvents = 256;

class NetworkRecords : public SandboxObserver, public telemetry::MetricsSource {
 public:
  NetworkRecords(asio::any_io_executor executor, store::RecordStore& store, BlockingPool& pool,
                 const Settings& settings, const Layout& layout, WallClock clock);
  ~NetworkRecords() override;

  // StreamSandboxNetwork.
  Awaitable<Result<void>> Stream(SandboxId sandbox_id, bool follow,
                                 rpc::Writer<v1::NetworkDecision>& out);
  const NetworkTotals& totals() const { return totals_; }
  void WriteMetrics(telemetry::MetricsText& out) const override {
    WriteNetworkMetrics(totals_, out);
  }

  // Begins to write the audit log; before any sandbox.
  void Start();
  // Ends that, when what is queued is written. After the sandboxes' Shutdown.
  Awaitable<void> Shutdown();
  // Removes audit files past their retention.
  Awaitable<void> Prune();

  void OnReady(const std::shared_ptr<LiveSandbox>& sandbox) override;
  Awaitable<void> OnEnding(LiveSandbox& sandbox) override;

 private:
  struct Live;
  struct Line {
    std::shared_ptr<Live> live;
    uint64_t sequence;
    std::string text;
  };

  std::shared_ptr<Live> Open(const SandboxId& id, uint64_t audited);
  Awaitable<void> Follow(std::shared_ptr<LiveSandbox> sandbox, std::shared_ptr<Live> live);
  // Takes what the warden has behind the last record taken; with `follow` until it ends.
  Awaitable<Result<void>> Watch(std::shared_ptr<rpc::Channel> channel, std::shared_ptr<Live> live,
                                bool follow);
  void Take(const std::shared_ptr<Live>& live, pb::NetworkRecord record);
  void TakeCounters(Live& live, const pb::NetworkCounters& counters);
  Awaitable<void> ReadSpool(std::shared_ptr<Live> live);
  Awaitable<void> WriteAudit();

  asio::any_io_executor executor_;
  store::RecordStore& store_;
  BlockingPool& pool_;
  const Layout& layout_;
  WallClock clock_;
  AuditLog::Limits audit_limits_;
  std::shared_ptr<AuditLog> audit_;  // shared with the pool
  std::map<SandboxId, std::shared_ptr<Live>> live_;
  NetworkTotals totals_;
  std::vector<Line> queue_;
  Notifier queued_;
  Notifier written_;
  bool stopping_ = false;
  TaskScope tasks_;
};

}  // namespace cleanroom::server
