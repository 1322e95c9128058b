#include "doors/dns/answer_cache.h"

#include <gtest/gtest.h>

namespace cleanroom::doors {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using wire::DnsAnswer;
using wire::DnsRecord;
using wire::Rcode;
namespace type = wire::dns_type;

const AnswerCache::Clock::time_point kStart{seconds(1000)};

DnsRecord Record(uint16_t of, uint32_t ttl, std::vector<uint8_t> data = {1, 2, 3, 4}) {
  DnsRecord record;
  record.name = "a.example.com";
  record.type = of;
  record.ttl = ttl;
  record.data = std::move(data);
  return record;
}

DnsAnswer Positive(uint32_t ttl) {
  DnsAnswer answer;
  answer.answers = {Record(type::kCname, 900), Record(type::kA, ttl)};
  return answer;
}

DnsAnswer Negative(Rcode rcode, uint32_t ttl, uint8_t minimum) {
  DnsAnswer answer;
  answer.rcode = rcode;
  answer.authority = {Record(type::kSoa, ttl, {0, 0, 0, 0, minimum})};
  return answer;
}

TEST(AnswerCacheTest, AnswersGrowOldAndExpireWithTheirShortestRecord) {
  AnswerCache cache({});
  cache.Put("a.example.com", type::kA, Positive(60), kStart);
  const auto later = cache.Get("a.example.com", type::kA, kStart + milliseconds(20'500));
  ASSERT_TRUE(later.has_value());
  EXPECT_EQ(later->answers[0].ttl, 880U);
  EXPECT_EQ(later->answers[1].ttl, 40U);
  EXPECT_FALSE(cache.Get("a.example.com", type::kAaaa, kStart).has_value());
  EXPECT_FALSE(cache.Get("b.example.com", type::kA, kStart).has_value());
  EXPECT_TRUE(cache.Get("a.example.com", type::kA, kStart + milliseconds(59'999)).has_value());
  EXPECT_FALSE(cache.Get("a.example.com", type::kA, kStart + seconds(60)).has_value());
  EXPECT_EQ(cache.size(), 0U);
  EXPECT_EQ(cache.bytes(), 0U);
}

TEST(AnswerCacheTest, TimesToLiveHaveACeilingAndAFloor) {
  AnswerCache cache({.max_ttl = seconds(100)});
  cache.Put("long.example.com", type::kA, Positive(1'000'000), kStart);
  EXPECT_EQ(cache.Get("long.example.com", type::kA, kStart)->answers[1].ttl, 100U);
  EXPECT_FALSE(cache.Get("long.example.com", type::kA, kStart + seconds(100)).has_value());
  cache.Put("zero.example.com", type::kA, Positive(0), kStart);
  EXPECT_EQ(cache.Get("zero.example.com", type::kA, kStart + milliseconds(999))->answers[1].ttl,
            0U);
  EXPECT_FALSE(cache.Get("zero.example.com", type::kA, kStart + seconds(1)).has_value());
}

TEST(AnswerCacheTest, NegativeAnswersLiveAsTheirSoaSays) {
  AnswerCache cache({});
  auto kept_for = [&](const DnsAnswer& answer, milliseconds age) {
    cache.Put("no.example.com", type::kA, answer, kStart);
    return cache.Get("no.example.com", type::kA, kStart + age).has_value();
  };
  EXPECT_TRUE(kept_for(Negative(Rcode::kNxDomain, 600, 20), milliseconds(19'999)));
  EXPECT_FALSE(kept_for(Negative(Rcode::kNxDomain, 600, 20), seconds(20)));
  EXPECT_FALSE(kept_for(Negative(Rcode::kNoError, 10, 20), seconds(10)));
  EXPECT_TRUE(kept_for(Negative(Rcode::kNoError, 600, 255), milliseconds(29'999)));
  EXPECT_FALSE(kept_for(Negative(Rcode::kNoError, 600, 255), seconds(30)));
  DnsAnswer undated;
  undated.rcode = Rcode::kNxDomain;
  EXPECT_FALSE(AnswerCache({}).Get("no.example.com", type::kA, kStart).has_value());
  cache.Put("undated.example.com", type::kA, undated, kStart);
  EXPECT_FALSE(cache.Get("undated.example.com", type::kA, kStart).has_value());
}

TEST(AnswerCacheTest, TheOldestGoFirst) {
  AnswerCache cache({.max_answers = 2});
  cache.Put("a", type::kA, Positive(60), kStart);
  cache.Put("b", type::kA, Positive(60), kStart);
  cache.Put("a", type::kA, Positive(60), kStart);  // now the youngest
  cache.Put("c", type::kA, Positive(60), kStart);
  EXPECT_TRUE(cache.Get("a", type::kA, kStart).has_value());
  EXPECT_FALSE(cache.Get("b", type::kA, kStart).has_value());
  EXPECT_TRUE(cache.Get("c", type::kA, kStart).has_value());
}

TEST(AnswerCacheTest, BytesAreBounded) {
  AnswerCache cache({.max_bytes = 100'000});
  DnsAnswer big;
  big.answers = {Record(type::kTxt, 60, std::vector<uint8_t>(30'000))};
  for (int i = 0; i < 10; ++i) cache.Put(std::to_string(i), type::kTxt, big, kStart);
  EXPECT_EQ(cache.size(), 3U);
  EXPECT_LE(cache.bytes(), 100'000U);
  EXPECT_TRUE(cache.Get("9", type::kTxt, kStart).has_value());
  big.answers = {Record(type::kTxt, 60, std::vector<uint8_t>(200'000))};
  cache.Put("huge", type::kTxt, big, kStart);
  EXPECT_FALSE(cache.Get("huge", type::kTxt, kStart).has_value());
  EXPECT_EQ(cache.size(), 3U);
}

}  // namespace
}  // namespace cleanroom::doors
