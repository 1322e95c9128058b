// NetworkTotals: the sums over all sandboxes of this host, since the control plane started.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "cleanroom/internal/v1/warden.pb.h"
#include "telemetry/metrics.h"

namespace cleanroom::server {

// Label values that a warden may introduce; a broken one must not fill the scrape.
inline constexpr size_t kMaxSeries = 256;

class NetworkTotals {
 public:
  using Counters = ::cleanroom::internal::v1::NetworkCounters;

  // Adds what has happened between two states of one sandbox's counters. One that runs backwards
  // counts from zero.
  void Add(const Counters& before, const Counters& now);

  struct Decisions {
    std::string service;
    bool allowed;
    std::string reason_code;
    auto operator<=>(const Decisions&) const = default;
  };
  struct Traffic {
    uint64_t sent = 0;
    uint64_t received = 0;
    int64_t open = 0;
  };
  const std::map<Decisions, uint64_t>& decisions() const { return decisions_; }
  const std::map<std::string, Traffic>& traffic() const { return traffic_; }
  uint64_t records_lost() const { return records_lost_; }

 private:
  std::map<Decisions, uint64_t> decisions_;
  std::map<std::string, Traffic> traffic_;
  uint64_t records_lost_ = 0;
};

// The metrics of the totals.
void WriteNetworkMetrics(const NetworkTotals& totals, telemetry::MetricsText& out);

}  // namespace cleanroom::server
