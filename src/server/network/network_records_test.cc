// From the wardens' decisions to the audit log, the API and the metrics; with wardens whose machine
// is not real and whose network log is (testing/fake_warden.cc).
#include "server/network/network_records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "cleanroom/internal/v1/warden.rpc.h"
#include "http/byte_stream.h"
#include "os/socket.h"
#include "server/testing/control_plane_world.h"

namespace cleanroom::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

template <typename T>
class Messages : public rpc::MessageSink {
 public:
  Awaitable<Result<void>> Write(const rpc::Message& message) override {
    T copy;
    copy.ParseFromString(message.SerializeAsString());
    items.push_back(std::move(copy));
    co_return Result<void>();
  }
  std::vector<T> items;
};
using Decisions = Messages<v1::NetworkDecision>;
using Events = Messages<v1::SandboxEvent>;

Awaitable<void> StreamNetwork(Plane& plane, SandboxId id, bool follow, Decisions& out) {
  rpc::Writer<v1::NetworkDecision> writer(out);
  auto streamed = co_await plane.network->Stream(id, follow, writer);
  EXPECT_TRUE(streamed) << (streamed ? "" : streamed.error().ToString());
}

Awaitable<void> StreamEvents(Plane& plane, SandboxId id, Events& out) {
  rpc::Writer<v1::SandboxEvent> writer(out);
  auto streamed = co_await plane.sandboxes->StreamEvents(id, false, writer);
  EXPECT_TRUE(streamed);
}

class NetworkRecordsTest : public testing::Test {
 protected:
  // The audit log's lines, oldest first.
  std::vector<nlohmann::json> Audit(const Plane& plane) {
    std::vector<nlohmann::json> lines;
    std::error_code none;
    for (const auto& file : std::filesystem::directory_iterator(plane.layout.Audit(), none)) {
      std::istringstream text(*os::ReadFile(file.path().string(), 1U << 20));
      for (std::string line; std::getline(text, line);)
        lines.push_back(nlohmann::json::parse(line));
    }
    return lines;
  }
  std::vector<std::string> Destinations(const Decisions& decisions) {
    std::vector<std::string> out;
    out.reserve(decisions.items.size());
    for (const auto& decision : decisions.items) out.push_back(decision.destination());
    return out;
  }
  ExecutionId Exec(Plane& plane, const SandboxId& sandbox, std::vector<std::string> argv) {
    ExecutionId execution;
    Collector out;
    plane.Run(plane.DoExec(plane.Command(sandbox, std::move(argv)), &execution, &out));
    exit_ = out.Last().exit();
    return execution;
  }
  // A decision that no control plane is there to hear of.
  void DecideBehindItsBack(const Plane& plane, const SandboxId& id, const std::string& host) {
    asio::io_context io(1);
    auto socket = os::ConnectUnix(plane.layout.WardenSocket(id));
    ASSERT_TRUE(socket);
    const std::shared_ptr<rpc::Channel> channel =
        rpc::Channel::Create(http::AdoptSocket(io.get_executor(), socket->release()), {});
    TaskScope scope(io.get_executor());
    scope.Spawn(AskToRefuse(channel, host));
    io.run();
  }
  static Awaitable<void> AskToRefuse(std::shared_ptr<rpc::Channel> channel, std::string host) {
    pb::StartExecutionRequest request;
    request.set_execution_id(NewId());
    request.mutable_start()->add_argv("refuse");
    request.mutable_start()->add_argv(host);
    auto started = co_await pb::WardenStub(*channel).StartExecution(std::move(request));
    EXPECT_TRUE(started);
    co_await channel->Close();
  }
  void AwaitAudit(Plane& plane, size_t lines) {
    while (Audit(plane).size() < lines) plane.io.run_one();
  }

  os::TempDir folder_ = std::move(*os::TempDir::Create());
  v1::ExecutionExit exit_;
};

TEST_F(NetworkRecordsTest, ADecisionIsAuditedStreamedAndAnEvent) {
  Plane plane(folder_.path());
  const SandboxId id = plane.MakeReady();
  const ExecutionId execution = Exec(plane, id, {"refuse", "evil.example.com"});
  Exec(plane, id, {"allow", "good.example.com"});

  Decisions now;
  plane.Run(StreamNetwork(plane, id, false, now));
  EXPECT_THAT(Destinations(now), ElementsAre("evil.example.com", "good.example.com"));
  EXPECT_EQ(now.items[0].suggestion(), "- evil.example.com:443");
  EXPECT_EQ(now.items[0].execution_id(), execution.text());
  EXPECT_FALSE(now.items[0].allowed());
  EXPECT_TRUE(now.items[1].allowed());

  Events events;
  plane.Run(StreamEvents(plane, id, events));
  ASSERT_FALSE(events.items.empty());
  const v1::SandboxEvent& last = events.items.back();
  EXPECT_EQ(last.network().destination(), "evil.example.com");
  EXPECT_EQ(last.network().reason_code(), "host_not_allowed");
  EXPECT_EQ(last.status(), v1::SANDBOX_STATUS_READY);

  AwaitAudit(plane, 2);
  const auto line = Audit(plane)[0];
  EXPECT_EQ(line["sandbox_id"], id.text());
  EXPECT_EQ(line["execution_id"], execution.text());
  EXPECT_EQ(line["service"], "tcp");
  EXPECT_EQ(line["destination"], "evil.example.com");
  EXPECT_EQ(line["port"], 443);
  EXPECT_EQ(line["action"], "deny");
  EXPECT_EQ(line["reason_code"], "host_not_allowed");
  EXPECT_EQ(line["sequence"], 1);
  EXPECT_EQ(Audit(plane)[1]["action"], "allow");
}

TEST_F(NetworkRecordsTest, AnExitCarriesWhatTheCommandWasRefused) {
  Plane plane(folder_.path());
  const SandboxId id = plane.MakeReady();
  Exec(plane, id, {"say", "x"});
  EXPECT_EQ(exit_.refused_size(), 0);
  const ExecutionId execution = Exec(plane, id, {"refuse", "a.example", "b.example", "a.example"});
  ASSERT_EQ(exit_.refused_size(), 2);
  EXPECT_EQ(exit_.refused(0).destination(), "a.example");
  plane.Run(plane.DoTerminate(id));
  // Also when it is replayed from the kept record.
  Collector again;
  plane.Run(plane.DoStream(execution, &again));
  EXPECT_EQ(again.Last().exit().refused_size(), 2);
}

TEST_F(NetworkRecordsTest, AFollowerSeesDecisionsUntilTheEnd) {
  Plane plane(folder_.path());
  const SandboxId id = plane.MakeReady();
  Exec(plane, id, {"refuse", "before.example"});
  Decisions followed;
  TaskScope scope(plane.io.get_executor());
  scope.Spawn(StreamNetwork(plane, id, true, followed));
  while (followed.items.empty()) plane.io.run_one();
  Exec(plane, id, {"refuse", "after.example"});
  while (followed.items.size() < 2) plane.io.run_one();
  EXPECT_EQ(scope.size(), 1U);
  plane.Run(plane.DoTerminate(id));
  while (scope.size() > 0) plane.io.run_one();
  EXPECT_THAT(Destinations(followed), ElementsAre("before.example", "after.example"));
}

TEST_F(NetworkRecordsTest, IsKeptWithTheRecordOfAnEndedSandbox) {
  Plane plane(folder_.path());
  const SandboxId id = plane.MakeReady();
  Exec(plane, id,
       {"refuse", "evil.example.com", "evil.example.com", "evil.example.com", "evil.example.com",
        "evil.example.com"});
  plane.Run(plane.DoTerminate(id));
  EXPECT_FALSE(std::filesystem::exists(plane.layout.Sandbox(id)));
  Decisions kept;
  plane.Run(StreamNetwork(plane, id, true, kept));  // nothing to follow: ends
  ASSERT_THAT(Destinations(kept), ElementsAre("evil.example.com"));
  EXPECT_EQ(kept.items[0].count(), 5U);
  // What its warden had counted and not yet written was not lost with it.
  uint64_t audited = 0;
  for (const auto& line : Audit(plane)) audited += line["count"].get<uint64_t>();
  EXPECT_EQ(audited, 5U);
  // It goes when the record goes.
  ASSERT_TRUE(plane.store->PruneSandboxes(0));
  EXPECT_EQ(*plane.store->GetNetwork(id), "");
}

TEST_F(NetworkRecordsTest, AKilledWardensRecordsAreRead) {
  Plane plane(folder_.path());
  const SandboxId id = plane.MakeReady();
  ExecutionId execution;
  plane.Run(plane.DoExec(plane.Command(id, {"refuse-wait", "a.example", "b.example"}), &execution,
                         nullptr));
  auto sandbox = plane.sandboxes->FindLive(id);
  kill(FindWardens(plane.layout.Sandboxes())[0].pid, SIGKILL);
  while (!sandbox->ended()) plane.io.run_one();
  EXPECT_EQ(Audit(plane).size(), 2U);
  Decisions kept;
  plane.Run(StreamNetwork(plane, id, false, kept));
  EXPECT_THAT(Destinations(kept), ElementsAre("a.example", "b.example"));
}

TEST_F(NetworkRecordsTest, ARestartNeitherLosesNorRepeats) {
  SandboxId id;
  {
    // Stands still from some moment on, as if it had been killed.
    static std::vector<std::unique_ptr<Plane>>* const killed =
        new std::vector<std::unique_ptr<Plane>>();
    Plane& first = *killed->emplace_back(std::make_unique<Plane>(folder_.path()));
    id = first.MakeReady();
    Exec(first, id, {"refuse", "one.example"});
    const std::string cursor = first.layout.Sandbox(id) + "/network.cursor";
    while (*os::ReadFile(cursor, 100) != "00000000000000000001") first.io.run_one();
    DecideBehindItsBack(first, id, "two.example");
  }
  Plane second(folder_.path());
  second.Run(second.DoRecover());
  AwaitAudit(second, 2);
  Decisions now;
  second.Run(StreamNetwork(second, id, false, now));
  EXPECT_THAT(Destinations(now), ElementsAre("one.example", "two.example"));
  Exec(second, id, {"refuse", "three.example"});
  AwaitAudit(second, 3);
  std::vector<int> sequences;
  for (const auto& line : Audit(second)) sequences.push_back(line["sequence"].get<int>());
  EXPECT_THAT(sequences, ElementsAre(1, 2, 3));
  Events events;
  second.Run(StreamEvents(second, id, events));
  std::vector<std::string> refused;
  for (const auto& event : events.items)
    if (event.has_network()) refused.push_back(event.network().destination());
  EXPECT_THAT(refused, ElementsAre("one.example", "two.example", "three.example"));
}

TEST_F(NetworkRecordsTest, CountsForTheHost) {
  Plane plane(folder_.path());
  const SandboxId one = plane.MakeReady();
  const SandboxId two = plane.MakeReady();
  Exec(plane, one, {"refuse", "a.example", "a.example", "b.example"});
  Exec(plane, two, {"refuse", "a.example"});
  Exec(plane, two, {"allow", "c.example"});
  plane.Run(plane.DoTerminate(one));
  plane.Run(plane.DoTerminate(two));
  telemetry::MetricsText text;
  WriteNetworkMetrics(plane.network->totals(), text);
  EXPECT_THAT(
      text.Take(),
      testing::AllOf(HasSubstr("# TYPE cleanroom_network_decisions_total counter\n"),
                     HasSubstr("cleanroom_network_decisions_total{service=\"tcp\",action=\"deny\","
                               "reason_code=\"host_not_allowed\"} 4\n"),
                     HasSubstr("cleanroom_network_decisions_total{service=\"tcp\",action=\"allow\","
                               "reason_code=\"allowed\"} 1\n")));
}

TEST_F(NetworkRecordsTest, AnUnknownSandboxIsNotFound) {
  Plane plane(folder_.path());
  Decisions out;
  rpc::Writer<v1::NetworkDecision> writer(out);
  std::optional<Result<void>> outcome;
  struct Ask {
    static Awaitable<void> Now(Plane& plane, rpc::Writer<v1::NetworkDecision>& writer,
                               std::optional<Result<void>>& outcome) {
      auto streamed = co_await plane.network->Stream(SandboxId(NewId()), false, writer);
      outcome = std::move(streamed);
    }
  };
  plane.Run(Ask::Now(plane, writer, outcome));
  ASSERT_FALSE(*outcome);
  EXPECT_EQ(outcome->error().code(), ErrorCode::kNotFound);
}

TEST(NetworkRecordsLineTest, ARuleIsTakenWhenADoorCouldHaveMadeIt) {
  pb::NetworkRecord record;
  record.mutable_rule()->set_host("a.example.com");
  record.mutable_rule()->add_ports(53);
  record.mutable_rule()->set_protocol("udp");
  v1::NetworkDecision decision = ToDecision(record);
  EXPECT_EQ(decision.rule().host(), "a.example.com");
  EXPECT_EQ(decision.rule().ports(0), 53);
  EXPECT_EQ(decision.rule().protocol(), "udp");
  // The text stays for clients of earlier releases, and in the audit log.
  const std::string line = "- { host: a.example.com, ports: [53], protocol: udp }";
  EXPECT_EQ(decision.suggestion(), line);
  EXPECT_EQ(nlohmann::json::parse(AuditLine(SandboxId("sb"), record))["suggestion"], line);

  record.mutable_rule()->add_ports(65'536);
  EXPECT_FALSE(ToDecision(record).has_rule());
  record.mutable_rule()->set_ports(1, 54);
  record.mutable_rule()->set_host("*.example.com");
  EXPECT_FALSE(ToDecision(record).has_rule());
  EXPECT_EQ(ToDecision(record).suggestion(), "");

  // As a warden of an earlier release says it.
  record.clear_rule();
  record.set_suggestion("- a.example.com:443");
  decision = ToDecision(record);
  EXPECT_FALSE(decision.has_rule());
  EXPECT_EQ(decision.suggestion(), "- a.example.com:443");
}

TEST(NetworkRecordsLineTest, WhatAWardenSaysIsMadePlain) {
  pb::NetworkRecord record;
  record.set_sequence(7);
  record.set_time_us(1'800'000'000'123'456);
  record.set_last_us(std::numeric_limits<int64_t>::max());
  record.set_service("tcp");
  record.set_destination(std::string("evil\n\x1b[31m\xff") + std::string(10'000, 'x'));
  record.set_port(1'000'000);
  record.set_execution_id("../../etc");
  const std::string line = AuditLine(SandboxId("sb"), record);
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_LT(line.size(), 2000U);
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["time"], "2027-01-15T08:00:00.123456Z");
  EXPECT_EQ(json["port"], 65535);
  EXPECT_EQ(json["execution_id"], "");
  EXPECT_EQ(ToDecision(record).time().seconds(), 7'258'118'400);
}

v1::NetworkDecision Decision(const std::string& host, bool allowed) {
  v1::NetworkDecision decision;
  decision.set_service("tcp");
  decision.set_destination(host);
  decision.set_allowed(allowed);
  decision.set_count(1);
  return decision;
}

TEST(NetworkHistoryTest, IsBoundedForEachOutcome) {
  NetworkHistory history;
  EXPECT_TRUE(history.Add(Decision("allowed.example", true)));
  for (int i = 0; i < 10'000; ++i)
    EXPECT_TRUE(history.Add(Decision("x" + std::to_string(i) + ".example", false)));
  EXPECT_FALSE(history.Add(Decision("allowed.example", true)));
  const auto distinct = history.Distinct();
  EXPECT_EQ(distinct.decisions_size(), static_cast<int>(kHistoryEach) + 1);
  bool found = false;
  for (const auto& decision : distinct.decisions())
    found = found || (decision.destination() == "allowed.example" && decision.count() == 2);
  EXPECT_TRUE(found);
}

TEST(NetworkHistoryTest, TheFeedIsBoundedAndNumbered) {
  NetworkHistory history;
  for (int i = 0; i < 3000; ++i) history.Tell(Decision(std::to_string(i), false));
  EXPECT_EQ(history.feed_end(), 3000U);
  EXPECT_EQ(history.feed_begin(), 3000 - kFeed);
  EXPECT_EQ(history.feed(history.feed_begin()).destination(), std::to_string(3000 - kFeed));
}

TEST(NetworkTotalsTest, AddsDifferencesAndBoundsLabels) {
  NetworkTotals totals;
  pb::NetworkCounters before;
  pb::NetworkCounters now;
  auto* traffic = now.add_traffic();
  traffic->set_service("tcp");
  traffic->set_sent(10);
  traffic->set_received(20);
  traffic->set_open(3);
  totals.Add(before, now);
  before = now;
  now.mutable_traffic(0)->set_sent(15);
  now.mutable_traffic(0)->set_open(1);
  totals.Add(before, now);
  EXPECT_EQ(totals.traffic().at("tcp").sent, 15U);
  EXPECT_EQ(totals.traffic().at("tcp").received, 20U);
  EXPECT_EQ(totals.traffic().at("tcp").open, 1);
  totals.Add(now, pb::NetworkCounters());
  EXPECT_EQ(totals.traffic().at("tcp").open, 0);

  pb::NetworkCounters hostile;
  for (int i = 0; i < 10'000; ++i) {
    auto* item = hostile.add_decisions();
    item->set_service("tcp");
    std::string code = "code_";
    for (int rest = i; rest > 0; rest /= 26) code += static_cast<char>('a' + rest % 26);
    item->set_reason_code(i == 0 ? "a\"} 1\n" : code);
    item->set_count(1);
  }
  totals.Add({}, hostile);
  EXPECT_EQ(totals.decisions().size(), kMaxSeries);
  for (const auto& [key, count] : totals.decisions())
    EXPECT_EQ(key.reason_code.find('"'), std::string::npos);
}

}  // namespace
}  // namespace cleanroom::server
