// DecisionCoalescer: turns a stream of decisions, which a guest can make as fast as it sends
// packets, into records of a bounded rate, so that a flood neither fills the disk nor hides one
// destination behind another. Pure, but for the time it is told.
//
//  - Alike decisions (service, protocol, destination, port, code) share an entry. The first few are
//    records of their own, at once; later ones are counted and written as one record for each
//    interval.
//  - A destination belongs to a group: names to the domain of their last two labels, addresses to
//    their /24 (IPv4) or /64 (IPv6). Beyond so many entries, what is new in a group is counted for
//    the group as a whole ("*.evil.example"), so a flood of names under one domain costs a few
//    records and its neighbours nothing.
//  - Allowed and refused decisions have tables and budgets of their own: neither can displace the
//    other.
//  - A budget bounds the records written over time. What finds it spent waits, counted, and goes
//    first when there is budget again: the entries and groups that were written least often first.
// Every decision ends in the count of exactly one record.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/token_bucket.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "doors/rules/decision.h"

namespace cleanroom::warden {

namespace pb = ::cleanroom::internal::v1;

// Between two records of one entry, once it is past its first ones. Long enough to make a busy
// connection pool one line, short enough to follow by eye.
inline constexpr std::chrono::seconds kCoalesceInterval{10};
// Records that an entry writes at once: enough to see that something repeats.
inline constexpr int kPlainRecords = 3;
// Entries of each outcome; the one not used for longest goes first. At 700 bytes an entry: 0.7 MiB.
inline constexpr size_t kMaxEntries = 1024;
// Entries of one group. More distinct hosts of one domain are hardly looked at one by one.
inline constexpr size_t kMaxGroupEntries = 32;
// Groups of each outcome that are counted apart; what is new beyond is counted under "*". More than
// entries, so that only groups whose counts wait for budget can fill them. At 900 bytes: 1.8 MiB.
inline constexpr size_t kMaxGroups = 2048;
// Distinct ones that a group's count tells apart: half a KiB for each group.
inline constexpr size_t kMaxGroupDistinct = 128;
// Records of each outcome that may come at once: a parallel install touches hundreds of hosts.
inline constexpr double kBurstRecords = 1024;
// And for each second after that. With 400 bytes a line of the audit log, a guest that never stops
// costs 70 MB a day for each outcome.
inline constexpr double kRecordsPerSecond = 2;
// Bytes of a decision's texts that are kept.
inline constexpr size_t kMaxTextBytes = 512;

class DecisionCoalescer {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Records = std::vector<pb::NetworkRecord>;  // without sequence numbers

  explicit DecisionCoalescer(Time now);

  // Takes one decision, made at `wall_us` while the command `execution_id` (or none) ran. Answers
  // the records that are due at once.
  Records Add(const doors::Decision& decision, const std::string& execution_id, Time now,
              int64_t wall_us);
  // What was counted and is due. Call it at least every kCoalesceInterval.
  Records Flush(Time now);
  // Everything that was counted, whatever the budget; it stays bounded by the tables.
  Records FlushAll();

  // The group that a destination belongs to: "*.example.com", "192.0.2.0/24", "2001:db8::/64".
  static std::string GroupOf(const doors::Decision& decision);
  // The record of one decision.
  static pb::NetworkRecord ToRecord(const doors::Decision& decision);

 private:
  struct Group {
    pb::NetworkRecord record;  // of what was counted beyond the entries; count 0: nothing
    std::vector<uint32_t> distinct;
    size_t entries = 0;
    uint64_t written = 0;  // lately
    bool touched = true;
  };
  struct Entry {
    std::string key;
    std::string group;
    pb::NetworkRecord record;  // of what is not written yet; count 0: nothing
    int plain = 0;
    uint64_t written = 0;
    bool touched = true;
  };
  // One outcome.
  struct Table {
    std::list<Entry> entries;  // the one used last first
    std::unordered_map<std::string, std::list<Entry>::iterator> by_key;
    std::map<std::string, Group> groups;
    TokenBucket budget{kBurstRecords, kRecordsPerSecond};
  };

  Group& GroupFor(Table& table, const std::string& name, const pb::NetworkRecord& sample);
  void CountInGroup(Group& group, const std::string& key, const pb::NetworkRecord& record);
  void Evict(Table& table, std::list<Entry>::iterator entry);
  // Within the budget; all of it without a time.
  void Collect(Table& table, std::optional<Time> now, Records& out);
  void DropIdle(Table& table);

  Table tables_[2];  // refused, allowed
  Time flushed_;
};

}  // namespace cleanroom::warden
