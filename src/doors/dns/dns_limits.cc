#include "doors/dns/dns_limits.h"

#include <fmt/format.h>

#include <algorithm>

#include "doors/dns/dns_message.h"

namespace cleanroom::doors {
namespace {

bool CarriesText(uint16_t type) {
  return type != wire::dns_type::kA && type != wire::dns_type::kAaaa &&
         type != wire::dns_type::kCname && type != wire::dns_type::kHttps;
}

size_t LongestLabel(std::string_view name) {
  size_t longest = 0;
  for (size_t start = 0; start <= name.size();) {
    const size_t end = std::min(name.find('.', start), name.size());
    longest = std::max(longest, end - start);
    start = end + 1;
  }
  return longest;
}

}  // namespace

std::optional<std::string> TunnelGuard::CheckQuery(std::string_view name, uint16_t type,
                                                   Clock::time_point now) {
  if (name.size() > dns_limit::kMaxName) {
    return fmt::format("a name of {} characters under a wildcard looks like data; at most {} pass",
                       name.size(), dns_limit::kMaxName);
  }
  if (const size_t label = LongestLabel(name); label > dns_limit::kMaxLabel) {
    return fmt::format("a label of {} characters under a wildcard looks like data; at most {} pass",
                       label, dns_limit::kMaxLabel);
  }
  Parent& parent = ParentOf(name);
  if (CarriesText(type) && !parent.texts.Take(now)) {
    return fmt::format("too many {} queries beside {}; at most {} a minute pass",
                       wire::DnsTypeName(type), name, dns_limit::kTextPerMinute);
  }
  const std::string known(name);
  if (!IsKnown(known)) {
    if (!parent.new_names.Take(now)) {
      return fmt::format("too many different names beside {}; {} at once and {} a second pass",
                         name, dns_limit::kNewNameBurst, dns_limit::kNewNamesPerSecond);
    }
    Know(known);
  }
  return std::nullopt;
}

std::optional<std::string> TunnelGuard::CheckSending(std::string_view name, Clock::time_point now) {
  if (ParentOf(name).bytes.Take(now, static_cast<double>(name.size()))) return std::nullopt;
  return fmt::format("too many names beside {} were asked; {} bytes of them pass a minute", name,
                     dns_limit::kNameBytesPerMinute);
}

// A wildcard stands for the left-most label, so what follows it is the rule's.
TunnelGuard::Parent& TunnelGuard::ParentOf(std::string_view name) {
  std::string key(name.substr(std::min(name.find('.'), name.size())));
  const bool full = parents_.size() >= dns_limit::kParents && !parents_.contains(key);
  if (full) key.clear();  // all further ones share
  return parents_.try_emplace(std::move(key)).first->second;
}

bool TunnelGuard::IsKnown(const std::string& name) {
  const auto found = known_.find(name);
  if (found == known_.end()) return false;
  uses_.splice(uses_.begin(), uses_, found->second);
  return true;
}

void TunnelGuard::Know(const std::string& name) {
  known_.emplace(name, uses_.insert(uses_.begin(), name));
  if (known_.size() <= dns_limit::kKnownNames) return;
  known_.erase(uses_.back());
  uses_.pop_back();
}

}  // namespace cleanroom::doors
