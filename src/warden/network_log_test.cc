#include "warden/network_log.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <fstream>

#include "doors/rules/rules.h"
#include "os/file.h"

namespace cleanroom::warden {
namespace {

using doors::Code;
using doors::Decision;
using doors::Service;
using std::chrono::seconds;

Decision Refused(std::string host) {
  Decision decision;
  decision.host = std::move(host);
  decision.port = 443;
  decision.code = Code::kHostNotAllowed;
  decision.suggestion = doors::SuggestHost(decision.host, 443, policy::Protocol::kTcp);
  return decision;
}

class Collector : public rpc::MessageSink {
 public:
  Awaitable<Result<void>> Write(const rpc::Message& message) override {
    pb::NetworkEvent event;
    event.ParseFromString(message.SerializeAsString());
    events.push_back(std::move(event));
    if (pause) co_await pause->Wait();
    co_return Result<void>();
  }
  std::vector<pb::NetworkRecord> Records() const {
    std::vector<pb::NetworkRecord> records;
    for (const auto& event : events)
      if (event.has_record()) records.push_back(event.record());
    return records;
  }
  std::vector<pb::NetworkEvent> events;
  Notifier* pause = nullptr;
};

Awaitable<void> Watch(NetworkLog& log, uint64_t after, bool follow, Collector& out) {
  pb::WatchNetworkRequest request;
  request.set_after_sequence(after);
  request.set_follow(follow);
  rpc::Writer<pb::NetworkEvent> writer(out);
  auto watched = co_await log.Watch(std::move(request), writer);
  EXPECT_TRUE(watched) << (watched ? "" : watched.error().ToString());
}

class NetworkLogTest : public testing::Test {
 protected:
  NetworkClock Clock() {
    return {.steady = [this] { return steady_; }, .wall = [this] { return wall_; }};
  }
  std::vector<pb::NetworkRecord> Spool() {
    warden_link::NetworkSpoolReader reader(folder_.path());
    std::vector<pb::NetworkRecord> records;
    for (;;) {
      auto record = reader.Next();
      EXPECT_TRUE(record);
      if (!record || !*record) return records;
      records.push_back(std::move(**record));
    }
  }
  void RunAll() {
    io_.restart();
    io_.poll();
  }

  os::TempDir folder_ = std::move(*os::TempDir::Create());
  asio::io_context io_{1};
  std::chrono::steady_clock::time_point steady_{seconds(1000)};
  std::chrono::system_clock::time_point wall_{seconds(1'800'000'000)};
};

TEST_F(NetworkLogTest, WritesNumberedRecordsThatOutliveIt) {
  {
    NetworkLog log(io_.get_executor(), folder_.path(), Clock());
    log.Record(Refused("evil.example.com"));
    for (int i = 0; i < 9; ++i) log.Record(Refused("evil.example.com"));
    log.Close();
  }
  const auto records = Spool();
  ASSERT_EQ(records.size(), 4U);
  for (size_t i = 0; i < records.size(); ++i) EXPECT_EQ(records[i].sequence(), i + 1);
  EXPECT_EQ(records[0].time_us(), 1'800'000'000'000'000);
  EXPECT_EQ(records[0].rule().host(), "evil.example.com");
  EXPECT_EQ(records[0].rule().ports(0), 443U);
  EXPECT_EQ(records[0].rule().protocol(), "tcp");
  EXPECT_EQ(records[3].count(), 7U);
  struct stat status{};
  ASSERT_EQ(stat((folder_.path() + "/network.spool").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(NetworkLogTest, AWatcherGetsWhatWasAndWhatComesAndItsEnd) {
  NetworkLog log(io_.get_executor(), folder_.path(), Clock());
  log.Record(Refused("a.example.com"));
  log.Record(Refused("b.example.com"));
  TaskScope scope(io_.get_executor());
  Collector out;
  scope.Spawn(Watch(log, 1, true, out));
  RunAll();
  ASSERT_EQ(out.Records().size(), 1U);
  EXPECT_EQ(out.Records()[0].destination(), "b.example.com");
  EXPECT_EQ(out.events[0].missed(), 0U);
  log.Record(Refused("c.example.com"));
  RunAll();
  ASSERT_EQ(out.Records().size(), 2U);
  EXPECT_EQ(scope.size(), 1U);
  log.Close();
  RunAll();
  EXPECT_EQ(scope.size(), 0U);
  EXPECT_TRUE(out.events.back().has_counters());
}

TEST_F(NetworkLogTest, CountsForMetrics) {
  NetworkLog log(io_.get_executor(), folder_.path(), Clock());
  for (int i = 0; i < 1000; ++i) log.Record(Refused(fmt::format("x{}.evil.example", i)));
  Decision allowed = Refused("good.example.com");
  allowed.code = Code::kAllowed;
  log.Record(allowed);
  log.Opened(Service::kTcp, 1);
  log.Opened(Service::kTcp, 1);
  log.Opened(Service::kTcp, -1);
  log.Transferred(Service::kTcp, 10, 1000);
  log.Transferred(Service::kTcp, 1, 2);
  const auto counters = log.counters();
  ASSERT_EQ(counters.decisions_size(), 2);
  EXPECT_TRUE(counters.decisions(0).allowed());
  EXPECT_EQ(counters.decisions(0).count(), 1U);
  EXPECT_EQ(counters.decisions(1).count(), 1000U);
  EXPECT_EQ(counters.decisions(1).reason_code(), "host_not_allowed");
  ASSERT_EQ(counters.traffic_size(), 1);
  EXPECT_EQ(counters.traffic(0).sent(), 11U);
  EXPECT_EQ(counters.traffic(0).received(), 1002U);
  EXPECT_EQ(counters.traffic(0).open(), 1);
}

TEST_F(NetworkLogTest, CountersAreToldAsTimePasses) {
  NetworkLog log(io_.get_executor(), folder_.path(), Clock());
  TaskScope scope(io_.get_executor());
  Collector out;
  scope.Spawn(Watch(log, 0, true, out));
  log.Record(Refused("a.example.com"));
  RunAll();
  EXPECT_EQ(out.events.size(), 2U);  // the record, and counters
  log.Transferred(Service::kTcp, 1, 1);
  log.Tick();
  RunAll();
  EXPECT_EQ(out.events.size(), 2U);
  steady_ += kCounterInterval;
  log.Tick();
  RunAll();
  ASSERT_EQ(out.events.size(), 3U);
  EXPECT_EQ(out.events[2].counters().traffic(0).sent(), 1U);
  log.Close();
  RunAll();
  EXPECT_EQ(scope.size(), 0U);
}

TEST_F(NetworkLogTest, ARecordCarriesTheCommandWhenExactlyOneRuns) {
  NetworkLog log(io_.get_executor(), folder_.path(), Clock());
  log.Record(Refused("before.example.com"));
  log.ExecutionStarted("one");
  log.Record(Refused("a.example.com"));
  log.ExecutionStarted("two");
  log.Record(Refused("b.example.com"));
  pb::ExecutionEnd first;
  log.ExecutionEnded("one", first);
  log.Record(Refused("c.example.com"));
  const auto records = Spool();
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[0].execution_id(), "");
  EXPECT_EQ(records[1].execution_id(), "one");
  EXPECT_EQ(records[2].execution_id(), "");
  EXPECT_EQ(records[3].execution_id(), "two");
  ASSERT_EQ(first.refused_size(), 2);
  EXPECT_EQ(first.refused(0).destination(), "a.example.com");
  pb::ExecutionEnd second;
  log.ExecutionEnded("two", second);
  ASSERT_EQ(second.refused_size(), 2);
  EXPECT_EQ(second.refused(0).destination(), "b.example.com");
}

TEST_F(NetworkLogTest, AnEndTellsDistinctRefusalsAndBoundsThem) {
  NetworkLog log(io_.get_executor(), folder_.path(), Clock());
  log.ExecutionStarted("one");
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 30; ++i) log.Record(Refused(fmt::format("x{}.example.com", i)));
  }
  Decision down = Refused("down.example.com");
  down.code = Code::kUpstreamFailed;
  log.Record(down);  // no refusal
  pb::ExecutionEnd end;
  log.ExecutionEnded("one", end);
  EXPECT_EQ(end.refused_size(), static_cast<int>(kExecutionRefusals));
  EXPECT_EQ(end.refused_more(), 10U);
}

TEST_F(NetworkLogTest, AFolderThatTakesNoFileCostsTheRecordsAndNothingElse) {
  NetworkLog log(io_.get_executor(), folder_.path() + "/none", Clock());
  log.Record(Refused("a.example.com"));
  EXPECT_EQ(log.counters().records_lost(), 1U);
  EXPECT_EQ(log.counters().decisions(0).count(), 1U);
}

pb::NetworkRecord Numbered(uint64_t sequence) {
  pb::NetworkRecord record;
  record.set_sequence(sequence);
  record.set_destination(fmt::format("host{}.example.com", sequence));
  return record;
}

TEST_F(NetworkLogTest, TheSpoolKeepsTwoPiecesAndTellsWhatItDropped) {
  auto writer = warden_link::NetworkSpoolWriter::Create(folder_.path(), 1000);
  ASSERT_TRUE(writer);
  warden_link::NetworkSpoolReader early(folder_.path());
  uint64_t dropped = 0;
  for (uint64_t i = 1; i <= 1000; ++i) {
    ASSERT_TRUE(writer->Append(Numbered(i)));
    dropped += writer->TakeDropped();
    if (i == 5) {
      EXPECT_EQ((*early.Next())->sequence(), 1U);
    }
  }
  uint64_t bytes = 0;
  for (const char* name : {"/network.spool", "/network.spool.1"})
    bytes += std::filesystem::file_size(folder_.path() + name);
  EXPECT_LE(bytes, 2000U);
  const auto kept = Spool();
  ASSERT_FALSE(kept.empty());
  EXPECT_EQ(kept.front().sequence(), dropped + 1);
  EXPECT_EQ(kept.back().sequence(), 1000U);
  for (size_t i = 1; i < kept.size(); ++i)
    ASSERT_EQ(kept[i].sequence(), kept[i - 1].sequence() + 1);
  // A reader that was overtaken reads its piece to the end and goes on with what there is.
  uint64_t last = 1;
  size_t jumps = 0;
  for (;;) {
    auto record = early.Next();
    ASSERT_TRUE(record);
    if (!*record) break;
    jumps += (*record)->sequence() == last + 1 ? 0 : 1;
    last = (*record)->sequence();
  }
  EXPECT_EQ(last, 1000U);
  EXPECT_EQ(jumps, 1U);
}

TEST_F(NetworkLogTest, TornAndDamagedFilesEndTheRecordsNotTheReader) {
  auto writer = warden_link::NetworkSpoolWriter::Create(folder_.path());
  ASSERT_TRUE(writer->Append(Numbered(1)));
  const std::string file = folder_.path() + "/network.spool";
  const auto whole = *os::ReadFile(file, 1U << 20);
  ASSERT_TRUE(writer->Append(Numbered(2)));
  const auto both = *os::ReadFile(file, 1U << 20);
  for (size_t size = whole.size() + 1; size < both.size(); ++size) {
    ASSERT_TRUE(os::WriteFileAtomic(file, both.substr(0, size)));
    EXPECT_EQ(Spool().size(), 1U) << size;
  }
  ASSERT_TRUE(os::WriteFileAtomic(file, whole + std::string("\xff\xff\xff\x7f garbage")));
  warden_link::NetworkSpoolReader reader(folder_.path());
  EXPECT_TRUE(*reader.Next());
  auto damaged = reader.Next();
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code(), ErrorCode::kDataCorrupt);
  EXPECT_FALSE(*reader.Next());
  ASSERT_TRUE(os::WriteFileAtomic(file, "no spool, but long enough to be one"));
  EXPECT_TRUE(Spool().empty());
}

TEST_F(NetworkLogTest, AWatcherThatWasOvertakenIsToldWhatItMissed) {
  NetworkLog log(io_.get_executor(), folder_.path(), Clock());
  log.Record(Refused("a.example.com"));
  TaskScope scope(io_.get_executor());
  Notifier gate(io_.get_executor());
  Collector slow;
  slow.pause = &gate;
  scope.Spawn(Watch(log, 0, true, slow));
  RunAll();
  ASSERT_EQ(slow.events.size(), 1U);
  // Three pieces' worth, while it does not read.
  Decision big = Refused("big.example.com");
  big.message = std::string(kMaxTextBytes, 'x');
  big.suggestion = doors::SuggestHost(big.message, 443, policy::Protocol::kTcp);
  for (int i = 0; i < 25'000; ++i) {
    big.port = static_cast<uint16_t>(i % 3 + 1);
    log.Record(big);
    steady_ += seconds(20);
    log.Tick();
    steady_ += seconds(20);
    log.Tick();
  }
  EXPECT_GT(log.counters().records_lost(), 0U);
  slow.pause = nullptr;
  gate.NotifyAll();
  RunAll();
  log.Close();
  while (scope.size() > 0) RunAll();
  uint64_t missed = 0;
  bool noted = false;
  for (const auto& event : slow.events) {
    missed += event.missed();
    noted = noted || event.record().reason_code() == "records_dropped";
  }
  EXPECT_GT(missed, 0U);
  EXPECT_TRUE(noted);
  EXPECT_EQ(missed + slow.Records().size(), slow.Records().back().sequence());
}

}  // namespace
}  // namespace cleanroom::warden
