#include "warden/decision_coalescer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <tuple>
#include <utility>

#include "base/printable.h"

namespace cleanroom::warden {
namespace {

constexpr char kAnything[] = "*";
constexpr char kSeparator = '\0';

// What a guest chose of a text may be any bytes, with which a message could not be read again.
std::string Plain(const std::string& text) {
  return ReplaceUnprintable(std::string_view(text).substr(0, kMaxTextBytes));
}

void SetRule(const policy::SuggestedRule& rule, pb::SuggestedRule& out) {
  if (rule.kind == policy::SuggestedRule::Kind::kHost) {
    out.set_host(Plain(rule.target));
  } else {
    out.set_cidr(rule.target);
  }
  for (const uint16_t port : rule.ports) out.add_ports(port);
  out.set_protocol(std::string(policy::ToString(rule.protocol)));
}

std::string KeyOf(const pb::NetworkRecord& record) {
  return fmt::format("{}{}{}{}{}{}{}{}{}", record.service(), kSeparator, record.protocol(),
                     kSeparator, record.destination(), kSeparator, record.port(), kSeparator,
                     record.reason_code());
}

// Groups are counted apart for each service, protocol and code.
std::string GroupKey(const std::string& group, const pb::NetworkRecord& record) {
  return fmt::format("{}{}{}{}{}{}{}", group, kSeparator, record.service(), kSeparator,
                     record.protocol(), kSeparator, record.reason_code());
}

// Adds the decisions of `from` to those of `into`, which has its destination already.
void Merge(pb::NetworkRecord& into, const pb::NetworkRecord& from) {
  if (into.count() == 0) {
    into.set_time_us(from.time_us());
    into.set_last_us(from.last_us());
    into.set_execution_id(from.execution_id());
  } else {
    into.set_time_us(std::min(into.time_us(), from.time_us()));
    into.set_last_us(std::max(into.last_us(), from.last_us()));
    if (into.execution_id() != from.execution_id()) into.clear_execution_id();
  }
  into.set_count(into.count() + from.count());
}

std::string MessageOf(const pb::NetworkRecord& group) {
  return fmt::format("at least {} more destinations, too many to tell each", group.more());
}

}  // namespace

DecisionCoalescer::DecisionCoalescer(Time now) : flushed_(now) {}

std::string DecisionCoalescer::GroupOf(const doors::Decision& decision) {
  if (!decision.host.empty()) {
    const size_t last = decision.host.rfind('.');
    if (last == std::string::npos || last == 0) return "*." + decision.host;
    const size_t second = decision.host.rfind('.', last - 1);
    return "*." + decision.host.substr(second == std::string::npos ? 0 : second + 1);
  }
  if (!decision.address) return kAnything;
  const auto& bytes = decision.address->bytes();
  if (decision.address->family() == net::IpAddress::Family::kV4) {
    return net::IpAddress::V4({bytes[0], bytes[1], bytes[2], 0}).ToString() + "/24";
  }
  std::array<uint8_t, 16> base{};
  std::copy_n(bytes.begin(), 8, base.begin());
  return net::IpAddress::V6(base).ToString() + "/64";
}

pb::NetworkRecord DecisionCoalescer::ToRecord(const doors::Decision& decision) {
  pb::NetworkRecord record;
  record.set_service(std::string(doors::ToString(decision.service)));
  record.set_protocol(std::string(policy::ToString(decision.protocol)));
  record.set_destination(Plain(decision.Destination()));
  if (decision.address) record.set_address(decision.address->ToString());
  record.set_port(decision.port);
  record.set_allowed(doors::IsAllowed(decision.code));
  record.set_reason_code(std::string(doors::ToString(decision.code)));
  record.set_message(Plain(decision.message));
  if (decision.suggestion) SetRule(*decision.suggestion, *record.mutable_rule());
  record.set_policy_line(decision.line);
  record.set_count(1);
  return record;
}

DecisionCoalescer::Records DecisionCoalescer::Add(const doors::Decision& decision,
                                                  const std::string& execution_id, Time now,
                                                  int64_t wall_us) {
  Records out;
  pb::NetworkRecord record = ToRecord(decision);
  record.set_time_us(wall_us);
  record.set_last_us(wall_us);
  record.set_execution_id(execution_id);
  Table& table = tables_[record.allowed() ? 1 : 0];

  const std::string key = KeyOf(record);
  const auto known = table.by_key.find(key);
  if (known == table.by_key.end()) {
    Group& group = GroupFor(table, GroupOf(decision), record);
    group.touched = true;
    if (group.record.destination() == kAnything || group.entries >= kMaxGroupEntries) {
      CountInGroup(group, key, record);
      return out;
    }
    if (table.entries.size() >= kMaxEntries) Evict(table, std::prev(table.entries.end()));
    ++group.entries;
    Entry fresh;
    fresh.key = key;
    fresh.group = GroupKey(GroupOf(decision), record);
    fresh.record = record;
    fresh.record.set_count(0);
    table.entries.push_front(std::move(fresh));
    table.by_key[key] = table.entries.begin();
  } else {
    table.entries.splice(table.entries.begin(), table.entries, known->second);
  }

  Entry& entry = table.entries.front();
  entry.touched = true;
  // Half of the burst is kept for what waits.
  const bool at_once = entry.plain < kPlainRecords && entry.record.count() == 0 &&
                       table.budget.Take(now, 1, kBurstRecords / 2);
  if (at_once) {
    ++entry.plain;
    ++entry.written;
    ++table.groups[entry.group].written;
    out.push_back(std::move(record));
  } else {
    const uint64_t before = entry.record.count();
    const pb::NetworkRecord counted = entry.record;
    entry.record = std::move(record);  // the newest texts
    if (before > 0) Merge(entry.record, counted);
  }
  return out;
}

DecisionCoalescer::Group& DecisionCoalescer::GroupFor(Table& table, const std::string& name,
                                                      const pb::NetworkRecord& sample) {
  std::string destination = name;
  auto found = table.groups.find(GroupKey(name, sample));
  if (found == table.groups.end() && table.groups.size() >= kMaxGroups) {
    // One for each service, protocol and code: a number that no guest chooses.
    destination = kAnything;
    found = table.groups.find(GroupKey(destination, sample));
  }
  if (found != table.groups.end()) return found->second;
  Group group;
  group.record.set_service(sample.service());
  group.record.set_protocol(sample.protocol());
  group.record.set_destination(Plain(destination));
  group.record.set_allowed(sample.allowed());
  group.record.set_reason_code(sample.reason_code());
  return table.groups.emplace(GroupKey(destination, sample), std::move(group)).first->second;
}

void DecisionCoalescer::CountInGroup(Group& group, const std::string& key,
                                     const pb::NetworkRecord& record) {
  const bool first = group.record.count() == 0;
  Merge(group.record, record);
  if (first) {
    group.record.set_port(record.port());
  } else if (group.record.port() != record.port()) {
    group.record.set_port(0);
  }
  const auto hash = static_cast<uint32_t>(std::hash<std::string>()(key));
  const bool seen =
      std::find(group.distinct.begin(), group.distinct.end(), hash) != group.distinct.end();
  if (!seen && group.distinct.size() < kMaxGroupDistinct) group.distinct.push_back(hash);
}

void DecisionCoalescer::Evict(Table& table, std::list<Entry>::iterator entry) {
  Group& group = table.groups[entry->group];
  if (entry->record.count() > 0) CountInGroup(group, entry->key, entry->record);
  --group.entries;
  table.by_key.erase(entry->key);
  table.entries.erase(entry);
}

DecisionCoalescer::Records DecisionCoalescer::Flush(Time now) {
  Records out;
  if (now - flushed_ < kCoalesceInterval) return out;
  flushed_ = now;
  for (Table& table : tables_) {
    Collect(table, now, out);
    DropIdle(table);
  }
  return out;
}

DecisionCoalescer::Records DecisionCoalescer::FlushAll() {
  Records out;
  for (Table& table : tables_) {
    Collect(table, std::nullopt, out);
  }
  return out;
}

// What was written least often lately goes first.
void DecisionCoalescer::Collect(Table& table, std::optional<Time> now, Records& out) {
  struct Waiting {
    uint64_t written;
    uint64_t group_written;
    int64_t since;
    Group* group;
    Entry* entry;  // null: what the group itself has counted
  };
  std::vector<Waiting> waiting;
  for (auto& [key, group] : table.groups) {
    if (group.record.count() > 0)
      waiting.push_back({group.written, group.written, group.record.time_us(), &group, nullptr});
  }
  for (Entry& entry : table.entries) {
    if (entry.record.count() == 0) continue;
    Group& group = table.groups[entry.group];
    waiting.push_back({entry.written, group.written, entry.record.time_us(), &group, &entry});
  }
  std::sort(waiting.begin(), waiting.end(), [](const Waiting& a, const Waiting& b) {
    return std::tie(a.written, a.group_written, a.since) <
           std::tie(b.written, b.group_written, b.since);
  });
  for (const Waiting& next : waiting) {
    if (now && !table.budget.Take(*now)) break;
    ++next.group->written;
    pb::NetworkRecord& counted = next.entry != nullptr ? next.entry->record : next.group->record;
    out.push_back(counted);
    counted.set_count(0);
    if (next.entry != nullptr) {
      ++next.entry->written;
    } else {
      out.back().set_more(next.group->distinct.size());
      out.back().set_message(MessageOf(out.back()));
      next.group->distinct.clear();
    }
  }
}

// What was not seen for an interval, and has nothing to tell, begins anew when it comes back.
void DecisionCoalescer::DropIdle(Table& table) {
  for (auto it = table.entries.begin(); it != table.entries.end();) {
    const auto entry = it++;
    if (!entry->touched && entry->record.count() == 0)
      Evict(table, entry);
    else
      entry->touched = false;
  }
  for (auto it = table.groups.begin(); it != table.groups.end();) {
    Group& group = it->second;
    group.written /= 2;
    const bool idle = !group.touched && group.entries == 0 && group.record.count() == 0;
    group.touched = false;
    it = idle ? table.groups.erase(it) : std::next(it);
  }
}

}  // namespace cleanroom::warden
