// NetworkLog: what the doors decided, on record. The warden's only listener to them.
//
// Decisions are coalesced (decision_coalescer.h), numbered, appended to the sandbox's spool
// (network_spool.h) and counted. The spool is also what watchers read, each at its own pace, so a
// slow one neither slows the doors nor takes memory; when the spool's bound overtakes it, it is
// told how many records it missed. A spool that cannot be written costs the records, which are
// counted as lost, and nothing else.
//
// Lives on the warden's one thread. Nothing here waits for more than a write to the page cache.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/async.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "doors/rules/decision.h"
#include "rpc/service.h"
#include "warden/decision_coalescer.h"
#include "warden_link/network_spool.h"

namespace cleanroom::warden {

// Distinct refusals that an execution's end carries: what a terminal shows of them.
inline constexpr size_t kExecutionRefusals = 20;
// Distinct ones that are told apart to count the others; more are "at least so many".
inline constexpr size_t kExecutionRefusalsCounted = 256;
// How often counters are told to watchers at most: fresh enough for a scrape.
inline constexpr std::chrono::seconds kCounterInterval{2};

// The time, for tests to move.
struct NetworkClock {
  std::function<std::chrono::steady_clock::time_point()> steady = std::chrono::steady_clock::now;
  std::function<std::chrono::system_clock::time_point()> wall = std::chrono::system_clock::now;
};

class NetworkLog : public doors::DecisionSink {
 public:
  // Opens the spool in the sandbox's folder.
  NetworkLog(asio::any_io_executor executor, const std::filesystem::path& folder,
             NetworkClock clock = {});
  ~NetworkLog() override;

  // From the doors.
  void Record(const doors::Decision& decision) override;
  void Transferred(doors::Service service, uint64_t sent, uint64_t received) override;
  void Opened(doors::Service service, int change) override;

  // From the supervisor: a record carries the command that runs, when exactly one does. The end
  // takes the refusals that happened while the command ran.
  void ExecutionStarted(const std::string& id);
  void ExecutionEnded(const std::string& id, pb::ExecutionEnd& end);

  // WardenService.WatchNetwork.
  Awaitable<Result<void>> Watch(pb::WatchNetworkRequest request,
                                rpc::Writer<pb::NetworkEvent>& out);
  pb::NetworkCounters counters() const;

  // Writes what was counted, as its intervals pass. A task of the owner's; ends when cancelled.
  Awaitable<void> Run();
  // The same once, for now.
  void Tick();
  // Writes all that was counted, and the counters to
  // warden_link::kCountersFile, for a control plane that hung
  // up before; watchers end when they have read it. After the doors are closed.
  void Close();

 private:
  struct Traffic {
    uint64_t sent = 0;
    uint64_t received = 0;
    int64_t open = 0;
  };
  struct Refusals {
    std::vector<pb::NetworkRecord> first;
    std::unordered_set<size_t> seen;
  };
  static constexpr size_t kServices = 4;

  void Append(std::vector<pb::NetworkRecord> records);
  void NoteRefusal(const doors::Decision& decision);
  int64_t WallMicros() const;

  NetworkClock clock_;
  std::optional<warden_link::NetworkSpoolWriter> spool_;
  std::filesystem::path folder_;
  DecisionCoalescer coalescer_;
  Notifier changed_;
  uint64_t sequence_ = 0;
  uint64_t lost_ = 0;
  std::map<std::pair<doors::Service, doors::Code>, uint64_t> decisions_;
  std::array<Traffic, kServices> traffic_;
  uint64_t counters_version_ = 0;
  bool closed_ = false;
  std::map<std::string, Refusals> running_;
};

}  // namespace cleanroom::warden
