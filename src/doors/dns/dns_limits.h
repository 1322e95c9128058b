// What one sandbox may ask of the DNS door, in amount. A name under a wildcard is data that leaves
// the sandbox: its owner's servers read it, and their answers are read back. These numbers leave
// room for what builds do and make such a tunnel useless; names that a rule names exactly carry
// nothing a guest chose.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/token_bucket.h"

namespace cleanroom::doors {

namespace dns_limit {
// Queries of a sandbox, UDP and TCP together. A busy package manager asks some tens a second.
inline constexpr double kQueriesPerSecond = 200;
inline constexpr double kQueryBurst = 400;
// Queries that wait for the host's resolvers: each holds some KiB.
inline constexpr size_t kInFlight = 128;
inline constexpr size_t kTcpConnections = 16;
// Queries of one connection that are not yet answered; more are read when some are.
inline constexpr size_t kTcpPipelined = 16;
// For a whole message to come, and for an answer to be taken.
inline constexpr std::chrono::seconds kTcpIdle{10};
// Datagrams handled before other work of the thread gets its turn.
inline constexpr int kDatagramBatch = 32;

// Under a wildcard:
// Host names are short; what encodes data fills its labels (63) and names (253).
inline constexpr size_t kMaxName = 150;
inline constexpr size_t kMaxLabel = 50;
// New names under one parent: sixty at once for the mirrors, buckets and shards of a build; later
// two a second, at most 100 bytes a second of payload.
inline constexpr double kNewNameBurst = 60;
inline constexpr double kNewNamesPerSecond = 2;
// Names asked of the host's resolvers again count too, or the order in which known names are asked
// would be a code: 12 KiB is about 400 names a minute.
inline constexpr double kNameBytesPerMinute = 12'288;
// Types whose answers hold text or more of the owner's choice than an address. Few are asked.
inline constexpr double kTextBurst = 10;
inline constexpr double kTextPerMinute = 10;
// Names that are no longer new, the least recently asked go first; parents, one for each wildcard
// of the policy that was used.
inline constexpr size_t kKnownNames = 1024;
inline constexpr size_t kParents = 1024;
}  // namespace dns_limit

// Watches the names asked under wildcards: by DNS queries, and by whoever else looks up a name that
// the guest gave (a server name in a TLS hello). Both checks come before such a lookup, the second
// only when the resolver does not remember the answer.
class TunnelGuard {
 public:
  using Clock = TokenBucket::Clock;

  // A query for `name` (in normal form), which a wildcard allows. What is suspicious, for people
  // ("…: its label of 60 characters is longer than a host's"), or nothing.
  std::optional<std::string> CheckQuery(std::string_view name, uint16_t type,
                                        Clock::time_point now);
  // The same when it is about to be asked of the host's resolvers.
  std::optional<std::string> CheckSending(std::string_view name, Clock::time_point now);

  size_t known_names() const { return known_.size(); }

 private:
  struct Parent {
    TokenBucket new_names{dns_limit::kNewNameBurst, dns_limit::kNewNamesPerSecond};
    TokenBucket bytes{dns_limit::kNameBytesPerMinute, dns_limit::kNameBytesPerMinute / 60};
    TokenBucket texts{dns_limit::kTextBurst, dns_limit::kTextPerMinute / 60};
  };
  Parent& ParentOf(std::string_view name);
  bool IsKnown(const std::string& name);
  void Know(const std::string& name);

  std::unordered_map<std::string, Parent> parents_;
  std::unordered_map<std::string, std::list<std::string>::iterator> known_;
  std::list<std::string> uses_;  // known names, most recent first
};

}  // namespace cleanroom::doors
