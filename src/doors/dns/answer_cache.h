// AnswerCache: DNS answers for as long as their records live.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "doors/dns/dns_message.h"

namespace cleanroom::doors {

class AnswerCache {
 public:
  using Clock = std::chrono::steady_clock;
  struct Limits {
    size_t max_answers = 4096;
    size_t max_bytes = 2U << 20U;           // counted as the answers lie in memory
    std::chrono::seconds max_ttl{3600};     // records that live longer are told to live this long
    std::chrono::seconds negative_ttl{30};  // of NXDOMAIN and empty answers, at most
  };
  // Even an answer with a time to live of 0 serves this long, so that a guest cannot make every
  // question of its own go out.
  static constexpr std::chrono::seconds kMinTtl{1};

  explicit AnswerCache(const Limits& limits) : limits_(limits) {}

  // Positive answers for the least time to live of their records; negative ones as RFC 2308 says,
  // that is, not at all without a SOA. `name` in normal form.
  void Put(std::string_view name, uint16_t type, const wire::DnsAnswer& answer,
           Clock::time_point now);

  // The answer, its records' time to live lessened by its age (at least 0).
  std::optional<wire::DnsAnswer> Get(std::string_view name, uint16_t type, Clock::time_point now);

  size_t size() const { return entries_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  struct Entry {
    wire::DnsAnswer answer;
    Clock::time_point since;
    Clock::time_point until;
    size_t bytes = 0;
    std::list<std::string>::iterator age;
  };
  using Entries = std::unordered_map<std::string, Entry>;
  void Erase(Entries::iterator entry);

  Limits limits_;
  Entries entries_;
  std::list<std::string> ages_;  // keys, oldest first
  size_t bytes_ = 0;
};

}  // namespace cleanroom::doors
