// NameMemory: which allowed names an address was answered for, in this sandbox.
//
// A guest that connects to an address must have got it as the answer to an allowed name. Two ages
// count: for protocols that show their name (TLS, HTTP) the name is checked and resolved again, so
// any remembered address serves; for those that do not (SSH, Postgres) the address itself is
// dialled, so it must be fresh.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "net/ip_address.h"

namespace cleanroom::doors {

class NameMemory {
 public:
  using Clock = std::chrono::steady_clock;
  // Addresses kept, the least recently used go first; names kept of each address.
  static constexpr size_t kMaxAddresses = 4096;
  static constexpr size_t kMaxNames = 16;
  // An answer stays fresh at least this long, so that what resolves once and connects later still
  // may; and at most kMaxFresh.
  static constexpr std::chrono::seconds kMinFresh{300};
  static constexpr std::chrono::seconds kMaxFresh{86'400};

  // `name` in normal form, answered with this time to live at `now`.
  void Remember(const net::IpAddress& address, const std::string& name, std::chrono::seconds ttl,
                Clock::time_point now);

  struct Name {
    std::string name;
    bool fresh = false;
  };
  // The names of the address, latest answer first; empty when there is none. Counts as a use.
  std::vector<Name> Lookup(const net::IpAddress& address, Clock::time_point now);

  size_t size() const { return entries_.size(); }

 private:
  struct Answer {
    std::string name;
    Clock::time_point fresh_until;
  };
  struct Entry {
    std::vector<Answer> answers;  // latest first
    std::list<net::IpAddress>::iterator use;
  };

  std::map<net::IpAddress, Entry> entries_;
  std::list<net::IpAddress> uses_;  // most recent first
};

}  // namespace cleanroom::doors
