// FloodGuard: a token bucket that tells ordinary traffic from a peer that makes us work for
// nothing.
#pragma once

#include <algorithm>
#include <chrono>

namespace cleanroom::http {

class FloodGuard {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  FloodGuard(double burst, double per_second)
      : burst_(burst), per_second_(per_second), tokens_(burst) {}

  // Takes a token; false when there is none left.
  bool Allow(TimePoint now) {
    if (last_ != TimePoint()) {
      const std::chrono::duration<double> passed = now - last_;
      tokens_ = std::min(burst_, tokens_ + passed.count() * per_second_);
    }
    last_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  double burst_;
  double per_second_;
  double tokens_;
  TimePoint last_;
};

}  // namespace cleanroom::http
