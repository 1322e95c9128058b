#include "doors/dns/answer_cache.h"

#include <algorithm>
#include <utility>

namespace cleanroom::doors {
namespace {

using std::chrono::seconds;

std::string Key(std::string_view name, uint16_t type) {
  std::string key(name);
  key += '/';
  key += std::to_string(type);
  return key;
}

size_t SizeOf(const wire::DnsAnswer& answer) {
  size_t bytes = 512;  // the key twice, the nodes, the answer itself
  for (const auto* section : {&answer.answers, &answer.authority}) {
    for (const wire::DnsRecord& record : *section) {
      bytes += sizeof(record) + record.name.size() + record.data.size() + record.target.size();
    }
  }
  return bytes;
}

// The field MINIMUM ends a SOA (RFC 1035, 3.3.13): how long a "no" may be believed (RFC 2308).
uint32_t SoaMinimum(const wire::DnsRecord& soa) {
  if (soa.data.size() < 4) return 0;
  uint32_t minimum = 0;
  for (size_t i = soa.data.size() - 4; i < soa.data.size(); ++i) {
    minimum = minimum << 8U | soa.data[i];
  }
  return minimum;
}

// Nothing: not to be kept.
std::optional<seconds> Lifetime(const wire::DnsAnswer& answer, uint16_t type,
                                const AnswerCache::Limits& limits) {
  std::optional<seconds> least;
  auto shorten = [&least](seconds ttl) { least = least ? std::min(*least, ttl) : ttl; };
  bool positive = false;
  for (const wire::DnsRecord& record : answer.answers) {
    positive = positive || record.type == type;
    shorten(seconds(record.ttl));
  }
  if (answer.rcode == wire::Rcode::kNoError && positive) return std::min(*least, limits.max_ttl);
  bool dated = false;
  for (const wire::DnsRecord& record : answer.authority) {
    if (record.type != wire::dns_type::kSoa) continue;
    dated = true;
    shorten(seconds(std::min(record.ttl, SoaMinimum(record))));
  }
  if (!dated) return std::nullopt;
  return std::min(*least, limits.negative_ttl);
}

}  // namespace

void AnswerCache::Put(std::string_view name, uint16_t type, const wire::DnsAnswer& answer,
                      Clock::time_point now) {
  const auto lifetime = Lifetime(answer, type, limits_);
  const size_t bytes = SizeOf(answer) + 2 * name.size();
  if (!lifetime || bytes > limits_.max_bytes || limits_.max_answers == 0) return;
  std::string key = Key(name, type);
  if (const auto old = entries_.find(key); old != entries_.end()) Erase(old);
  while (entries_.size() >= limits_.max_answers || bytes_ + bytes > limits_.max_bytes) {
    Erase(entries_.find(ages_.front()));
  }
  Entry entry{.answer = answer,
              .since = now,
              .until = now + std::max(*lifetime, kMinTtl),
              .bytes = bytes,
              .age = ages_.insert(ages_.end(), key)};
  const auto longest = static_cast<uint32_t>(limits_.max_ttl.count());
  for (auto* section : {&entry.answer.answers, &entry.answer.authority}) {
    for (wire::DnsRecord& record : *section) record.ttl = std::min(record.ttl, longest);
  }
  bytes_ += bytes;
  entries_.emplace(std::move(key), std::move(entry));
}

std::optional<wire::DnsAnswer> AnswerCache::Get(std::string_view name, uint16_t type,
                                                Clock::time_point now) {
  const auto found = entries_.find(Key(name, type));
  if (found == entries_.end()) return std::nullopt;
  const Entry& entry = found->second;
  if (now >= entry.until) {
    Erase(found);
    return std::nullopt;
  }
  const auto age =
      static_cast<uint32_t>(std::chrono::duration_cast<seconds>(now - entry.since).count());
  wire::DnsAnswer answer = entry.answer;
  for (auto* section : {&answer.answers, &answer.authority}) {
    for (wire::DnsRecord& record : *section) record.ttl -= std::min(record.ttl, age);
  }
  return answer;
}

void AnswerCache::Erase(Entries::iterator entry) {
  bytes_ -= entry->second.bytes;
  ages_.erase(entry->second.age);
  entries_.erase(entry);
}

}  // namespace cleanroom::doors
