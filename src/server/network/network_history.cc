#include "server/network/network_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace cleanroom::server {
namespace {

std::string KeyOf(const v1::NetworkDecision& decision) {
  return fmt::format("{}{}{}{}{}{}{}{}{}", decision.service(), '\0', decision.protocol(), '\0',
                     decision.destination(), '\0', decision.port(), '\0', decision.reason_code());
}

int64_t TimeOf(const v1::NetworkDecision& decision) {
  return decision.time().seconds() * 1'000'000'000 + decision.time().nanos();
}

}  // namespace

bool NetworkHistory::Add(const v1::NetworkDecision& decision) {
  Outcome& outcome = outcomes_[decision.allowed() ? 1 : 0];
  const std::string key = KeyOf(decision);
  const auto known = outcome.by_key.find(key);
  if (known == outcome.by_key.end()) {
    if (outcome.decisions.size() >= kHistoryEach) {
      outcome.by_key.erase(KeyOf(outcome.decisions.back()));
      outcome.decisions.pop_back();
    }
    outcome.decisions.push_front(decision);
    outcome.by_key[key] = outcome.decisions.begin();
    return true;
  }
  outcome.decisions.splice(outcome.decisions.begin(), outcome.decisions, known->second);
  v1::NetworkDecision& kept = outcome.decisions.front();
  const uint64_t before = kept.count();
  const uint64_t more = kept.more();
  kept = decision;
  kept.set_count(before + decision.count());
  kept.set_more(std::max(more, decision.more()));
  return false;
}

v1::SandboxNetwork NetworkHistory::Distinct() const {
  std::vector<const v1::NetworkDecision*> all;
  for (const Outcome& outcome : outcomes_) {
    for (const v1::NetworkDecision& decision : outcome.decisions) all.push_back(&decision);
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const auto* a, const auto* b) { return TimeOf(*a) < TimeOf(*b); });
  v1::SandboxNetwork out;
  for (const v1::NetworkDecision* decision : all) *out.add_decisions() = *decision;
  return out;
}

void NetworkHistory::Tell(v1::NetworkDecision decision) {
  if (feed_.size() >= kFeed) feed_.pop_front();
  feed_.push_back(std::move(decision));
  ++feed_end_;
}

}  // namespace cleanroom::server
