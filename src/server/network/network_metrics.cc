#include "server/network/network_metrics.h"

#include <algorithm>

namespace cleanroom::server {
namespace {

// Services and codes are words of ours.
bool IsWord(std::string_view text) {
  return !text.empty() && text.size() <= 32 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || c == '_';
  });
}

uint64_t Since(uint64_t before, uint64_t now) { return now >= before ? now - before : now; }

}  // namespace

void NetworkTotals::Add(const Counters& before, const Counters& now) {
  std::map<Decisions, uint64_t> earlier;
  for (const Counters::Decisions& item : before.decisions())
    earlier[{item.service(), item.allowed(), item.reason_code()}] = item.count();
  for (const Counters::Decisions& item : now.decisions()) {
    Decisions key{item.service(), item.allowed(), item.reason_code()};
    if (!IsWord(key.service) || !IsWord(key.reason_code)) continue;
    if (decisions_.size() >= kMaxSeries && !decisions_.contains(key)) continue;
    decisions_[key] += Since(earlier[key], item.count());
  }
  std::map<std::string, Traffic> flowed;
  for (const Counters::Traffic& item : before.traffic())
    flowed[item.service()] = {item.sent(), item.received(), item.open()};
  for (const Counters::Traffic& item : now.traffic()) {
    if (!IsWord(item.service())) continue;
    if (traffic_.size() >= kMaxSeries && !traffic_.contains(item.service())) continue;
    Traffic& total = traffic_[item.service()];
    const Traffic& was = flowed[item.service()];
    total.sent += Since(was.sent, item.sent());
    total.received += Since(was.received, item.received());
    total.open += item.open() - was.open;
    flowed.erase(item.service());
  }
  // What is not told any more is closed.
  for (const auto& [service, was] : flowed) {
    const auto total = traffic_.find(service);
    if (total != traffic_.end()) total->second.open -= was.open;
  }
  records_lost_ += Since(before.records_lost(), now.records_lost());
}

void WriteNetworkMetrics(const NetworkTotals& totals, telemetry::MetricsText& out) {
  using Type = telemetry::MetricsText::Type;
  using Labels = telemetry::MetricsText::Labels;
  constexpr std::string_view kDecisions = "cleanroom_network_decisions_total";
  out.Family(kDecisions, Type::kCounter, "Network decisions of all sandboxes.");
  for (const auto& [key, count] : totals.decisions()) {
    const Labels labels = {{"service", key.service},
                           {"action", key.allowed ? "allow" : "deny"},
                           {"reason_code", key.reason_code}};
    out.Sample(kDecisions, labels, count);
  }
  constexpr std::string_view kBytes = "cleanroom_network_bytes_total";
  out.Family(kBytes, Type::kCounter,
             "Bytes through the doors, from the point of view of the sandboxes.");
  for (const auto& [service, traffic] : totals.traffic()) {
    const Labels sent = {{"direction", "sent"}, {"service", service}};
    const Labels received = {{"direction", "received"}, {"service", service}};
    out.Sample(kBytes, sent, traffic.sent);
    out.Sample(kBytes, received, traffic.received);
  }
  constexpr std::string_view kOpen = "cleanroom_network_open_connections";
  out.Family(kOpen, Type::kGauge, "Open connections and flows of all sandboxes.");
  for (const auto& [service, traffic] : totals.traffic()) {
    const Labels labels = {{"service", service}};
    out.Sample(kOpen, labels, static_cast<double>(traffic.open));
  }
  constexpr std::string_view kLost = "cleanroom_network_records_lost_total";
  out.Family(kLost, Type::kCounter, "Network records dropped to stay within their bounds.");
  out.Sample(kLost, {}, totals.records_lost());
}

}  // namespace cleanroom::server
