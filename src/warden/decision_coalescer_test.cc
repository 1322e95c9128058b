#include "warden/decision_coalescer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace cleanroom::warden {
namespace {

using doors::Code;
using doors::Decision;
using doors::Service;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

Decision Name(std::string host, Code code = Code::kHostNotAllowed, uint16_t port = 443) {
  Decision decision;
  decision.host = std::move(host);
  decision.port = port;
  decision.code = code;
  decision.message = "said";
  return decision;
}

Decision Address(const std::string& text, Code code = Code::kHostNotAllowed) {
  Decision decision;
  decision.address = net::IpAddress::Parse(text);
  decision.port = 22;
  decision.code = code;
  return decision;
}

class CoalescerTest : public testing::Test {
 protected:
  void Add(const Decision& decision) {
    ++made_;
    Take(coalescer_.Add(decision, execution_, now_, ++wall_));
  }
  void Pass(std::chrono::nanoseconds time) { now_ += time; }
  void Flush() { Take(coalescer_.Flush(now_)); }
  void Interval() {
    Pass(kCoalesceInterval);
    Flush();
  }
  void Take(DecisionCoalescer::Records records) {
    for (auto& record : records) {
      counted_ += record.count();
      records_.push_back(std::move(record));
    }
  }
  uint64_t CountOf(const std::string& destination) const {
    uint64_t count = 0;
    for (const auto& record : records_)
      if (record.destination() == destination) count += record.count();
    return count;
  }
  // Nothing is lost and nothing is counted twice.
  void ExpectAllCounted() {
    Take(coalescer_.FlushAll());
    EXPECT_EQ(counted_, made_);
  }

  DecisionCoalescer::Time now_{};
  int64_t wall_ = 0;
  std::string execution_;
  DecisionCoalescer coalescer_{now_};
  DecisionCoalescer::Records records_;
  uint64_t made_ = 0;
  uint64_t counted_ = 0;
};

TEST_F(CoalescerTest, FirstOnesAreWrittenAtOnceLaterOnesAsOne) {
  for (int i = 0; i < 100; ++i) Add(Name("a.example.com"));
  ASSERT_EQ(records_.size(), static_cast<size_t>(kPlainRecords));
  EXPECT_EQ(records_[0].count(), 1U);
  EXPECT_EQ(records_[0].destination(), "a.example.com");
  EXPECT_EQ(records_[0].reason_code(), "host_not_allowed");
  Pass(kCoalesceInterval - milliseconds(1));
  Flush();
  EXPECT_EQ(records_.size(), 3U);
  Pass(milliseconds(1));
  Flush();
  ASSERT_EQ(records_.size(), 4U);
  EXPECT_EQ(records_[3].count(), 97U);
  EXPECT_EQ(records_[3].time_us(), 4);
  EXPECT_EQ(records_[3].last_us(), 100);
  ExpectAllCounted();
}

TEST_F(CoalescerTest, WhatDiffersInAnyPartIsToldApart) {
  Add(Name("a.example.com"));
  Add(Name("a.example.com", Code::kHostNotAllowed, 80));
  Add(Name("a.example.com", Code::kDeniedByRule));
  Decision dns = Name("a.example.com");
  dns.service = Service::kDns;
  Add(dns);
  Decision udp = Name("a.example.com");
  udp.protocol = policy::Protocol::kUdp;
  Add(udp);
  EXPECT_EQ(records_.size(), 5U);
}

TEST_F(CoalescerTest, ADestinationThatWasIdleBeginsAnew) {
  for (int i = 0; i < 5; ++i) Add(Name("a.example.com"));
  Interval();
  const size_t before = records_.size();
  Add(Name("a.example.com"));
  EXPECT_EQ(records_.size(), before);  // still known
  Interval();
  Interval();
  const size_t idle = records_.size();
  Add(Name("a.example.com"));
  EXPECT_EQ(records_.size(), idle + 1);
  ExpectAllCounted();
}

TEST_F(CoalescerTest, AFloodUnderOneDomainIsOneRecordAndItsNeighboursAreTold) {
  for (int i = 0; i < 100'000; ++i) {
    Add(Name(fmt::format("x{}.evil.example", i), Code::kHostNotAllowed));
    if (i == 50'000) Add(Name("other.example.org"));
  }
  EXPECT_EQ(CountOf("other.example.org"), 1U);
  EXPECT_EQ(records_.size(), kMaxGroupEntries + 1);
  Interval();
  EXPECT_EQ(records_.size(), kMaxGroupEntries + 2);
  EXPECT_EQ(records_.back().destination(), "*.evil.example");
  EXPECT_EQ(records_.back().count(), 100'000 - kMaxGroupEntries);
  EXPECT_EQ(records_.back().more(), kMaxGroupDistinct);
  EXPECT_THAT(records_.back().message(), HasSubstr("at least 128 more"));
  ExpectAllCounted();
}

TEST_F(CoalescerTest, DeepNamesDoNotEscapeTheirDomain) {
  for (int i = 0; i < 1000; ++i) Add(Name(fmt::format("d{}.t{}.evil.example", i, i)));
  EXPECT_EQ(records_.size(), kMaxGroupEntries);
  Interval();
  EXPECT_EQ(CountOf("*.evil.example"), 1000 - kMaxGroupEntries);
}

TEST_F(CoalescerTest, AddressesAreGroupedByTheirBlock) {
  for (int i = 0; i < 200; ++i) Add(Address(fmt::format("192.0.2.{}", i)));
  for (int i = 0; i < 200; ++i) Add(Address(fmt::format("2001:db8::{:x}", i + 1)));
  Add(Address("198.51.100.7"));
  Interval();
  EXPECT_EQ(CountOf("192.0.2.0/24"), 200 - kMaxGroupEntries);
  EXPECT_EQ(CountOf("2001:db8::/64"), 200 - kMaxGroupEntries);
  EXPECT_EQ(CountOf("198.51.100.7"), 1U);
  EXPECT_EQ(records_.back().port(), 22U);
  ExpectAllCounted();
}

TEST_F(CoalescerTest, APortScanIsAGroupToo) {
  for (int port = 1; port <= 65535; ++port)
    Add(Name("a.example.com", Code::kPortNotAllowed, static_cast<uint16_t>(port)));
  Interval();
  EXPECT_EQ(records_.size(), kMaxGroupEntries + 1);
  EXPECT_EQ(records_.back().port(), 0U);
  ExpectAllCounted();
}

TEST_F(CoalescerTest, RefusalsNeverHideWhatIsAllowedNorTheOtherWayRound) {
  for (const bool flood_allowed : {false, true}) {
    ExpectAllCounted();
    coalescer_ = DecisionCoalescer(now_);
    const Code flood = flood_allowed ? Code::kAllowedAll : Code::kHostNotAllowed;
    const Code quiet = flood_allowed ? Code::kHostNotAllowed : Code::kAllowed;
    for (int second = 0; second < 30; ++second) {
      for (int i = 0; i < 2000; ++i) Add(Name(fmt::format("n{}-{}.com", second, i), flood));
      Pass(seconds(1));
      Flush();
    }
    const std::string name = flood_allowed ? "quiet-refused.example" : "quiet-allowed.example";
    Add(Name(name, quiet));
    ASSERT_FALSE(records_.empty());
    EXPECT_EQ(records_.back().destination(), name);
    EXPECT_EQ(records_.back().allowed(), !flood_allowed);
  }
  ExpectAllCounted();
}

TEST_F(CoalescerTest, AnEndlessFloodStaysWithinItsBudget) {
  // Each under a domain of its own, so that groups do not help.
  for (int second = 0; second < 300; ++second) {
    for (int i = 0; i < 500; ++i) Add(Name(fmt::format("n{}x{}.com", second, i)));
    Pass(seconds(1));
    Flush();
  }
  EXPECT_LE(records_.size(), static_cast<size_t>(kBurstRecords + 300 * kRecordsPerSecond + 1));
  ExpectAllCounted();
}

TEST_F(CoalescerTest, WhatWaitsForBudgetIsWrittenBeforeWhatWasWritten) {
  // Spends the burst's half.
  for (int i = 0; i < 600; ++i) Add(Name(fmt::format("spent{}.com", i)));
  const size_t before = records_.size();
  Add(Name("rare.example"));
  EXPECT_EQ(records_.size(), before);
  for (int i = 0; i < 600; ++i) Add(Name(fmt::format("spent{}.com", i)));
  Interval();
  EXPECT_EQ(CountOf("rare.example"), 1U);
  ExpectAllCounted();
}

TEST_F(CoalescerTest, CarriesTheCommandUnlessItsDecisionsAreOfSeveral) {
  execution_ = "one";
  for (int i = 0; i < 5; ++i) Add(Name("a.example.com"));
  EXPECT_EQ(records_[0].execution_id(), "one");
  Interval();
  EXPECT_EQ(records_.back().execution_id(), "one");
  Add(Name("a.example.com"));
  execution_ = "two";
  Add(Name("a.example.com"));
  Interval();
  EXPECT_EQ(records_.back().count(), 2U);
  EXPECT_EQ(records_.back().execution_id(), "");
}

TEST_F(CoalescerTest, WhateverAGuestSaysCanBeReadAgain) {
  for (int i = 0; i < 100; ++i) {
    Decision decision = Name(fmt::format("x{}\xff\n.evil\xc3.example\xe2\x82", i));
    decision.message = std::string(2 * kMaxTextBytes, '\x80');
    Add(decision);
  }
  Interval();
  ASSERT_GT(records_.size(), kMaxGroupEntries);
  for (pb::NetworkRecord& record : records_) {
    pb::NetworkRecord again;
    EXPECT_TRUE(again.ParseFromString(record.SerializeAsString()));
    EXPECT_LE(again.message().size(), kMaxTextBytes);
  }
  EXPECT_EQ(records_[0].destination(), "x0??.evil?.example??");
}

TEST(DecisionCoalescerTest, Groups) {
  EXPECT_EQ(DecisionCoalescer::GroupOf(Name("a.b.example.com")), "*.example.com");
  EXPECT_EQ(DecisionCoalescer::GroupOf(Name("example.com")), "*.example.com");
  EXPECT_EQ(DecisionCoalescer::GroupOf(Name("localhost")), "*.localhost");
  EXPECT_EQ(DecisionCoalescer::GroupOf(Address("192.0.2.9")), "192.0.2.0/24");
  EXPECT_EQ(DecisionCoalescer::GroupOf(Address("2001:db8:0:1:2::3")), "2001:db8:0:1::/64");
  EXPECT_EQ(DecisionCoalescer::GroupOf(Decision()), "*");
}

}  // namespace
}  // namespace cleanroom::warden
