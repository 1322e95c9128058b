// NetworkHistory: the distinct decisions of one sandbox, bounded, and the newest ones for those who
// follow. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "cleanroom/v1/sandbox.pb.h"

namespace cleanroom::server {

namespace v1 = ::cleanroom::v1;

// Distinct decisions that are kept of a sandbox, for each outcome, so that refusals never displace
// what was allowed; beyond, the one not seen for longest goes. Together with the kept records of
// 256 sandboxes: 25 MB.
inline constexpr size_t kHistoryEach = 128;
// Decisions for followers; one that falls behind by more is told how many it missed.
inline constexpr size_t kFeed = 1024;

class NetworkHistory {
 public:
  // Takes a decision; whether it is one that was not known.
  bool Add(const v1::NetworkDecision& decision);
  // The distinct ones with the sum of their counts, by the time of the last.
  v1::SandboxNetwork Distinct() const;

  // For followers: numbers of the oldest and behind the newest decision that is held.
  void Tell(v1::NetworkDecision decision);
  uint64_t feed_begin() const { return feed_end_ - feed_.size(); }
  uint64_t feed_end() const { return feed_end_; }
  const v1::NetworkDecision& feed(uint64_t number) const { return feed_[number - feed_begin()]; }

 private:
  struct Outcome {
    std::list<v1::NetworkDecision> decisions;  // newest first
    std::map<std::string, std::list<v1::NetworkDecision>::iterator> by_key;
  };
  Outcome outcomes_[2];
  std::deque<v1::NetworkDecision> feed_;
  uint64_t feed_end_ = 0;
};

}  // namespace cleanroom::server
