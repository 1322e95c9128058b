// TokenBucket: so many at once, then so many a second.
#pragma once

#include <algorithm>
#include <chrono>

namespace cleanroom {

class TokenBucket {
 public:
  using Clock = std::chrono::steady_clock;

  TokenBucket(double burst, double per_second)
      : burst_(burst), per_second_(per_second), tokens_(burst) {}

  // Takes `amount` and leaves at least `reserve`. False, and nothing taken, when there are not that
  // many. A `now` before the last one adds nothing.
  bool Take(Clock::time_point now, double amount = 1, double reserve = 0) {
    if (last_ != Clock::time_point{} && now > last_) {
      const std::chrono::duration<double> passed = now - last_;
      tokens_ = std::min(burst_, tokens_ + passed.count() * per_second_);
    }
    last_ = std::max(last_, now);
    if (tokens_ < amount + reserve) return false;
    tokens_ -= amount;
    return true;
  }

 private:
  double burst_;
  double per_second_;
  double tokens_;
  Clock::time_point last_{};
};

}  // namespace cleanroom
