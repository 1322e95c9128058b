#include "doors/rules/name_memory.h"

#include <algorithm>

namespace cleanroom::doors {

void NameMemory::Remember(const net::IpAddress& address, const std::string& name,
                          std::chrono::seconds ttl, Clock::time_point now) {
  auto [found, added] = entries_.try_emplace(address);
  Entry& entry = found->second;
  if (added) {
    entry.use = uses_.insert(uses_.begin(), address);
  } else {
    uses_.splice(uses_.begin(), uses_, entry.use);
  }
  std::erase_if(entry.answers, [&](const Answer& answer) { return answer.name == name; });
  entry.answers.insert(entry.answers.begin(),
                       Answer{name, now + std::clamp(ttl, kMinFresh, kMaxFresh)});
  if (entry.answers.size() > kMaxNames) entry.answers.pop_back();
  if (entries_.size() > kMaxAddresses) {
    entries_.erase(uses_.back());
    uses_.pop_back();
  }
}

std::vector<NameMemory::Name> NameMemory::Lookup(const net::IpAddress& address,
                                                 Clock::time_point now) {
  const auto found = entries_.find(address);
  if (found == entries_.end()) return {};
  uses_.splice(uses_.begin(), uses_, found->second.use);
  std::vector<Name> names;
  for (const Answer& answer : found->second.answers) {
    names.push_back({answer.name, now < answer.fresh_until});
  }
  return names;
}

}  // namespace cleanroom::doors
