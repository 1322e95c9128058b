#include "doors/dns/resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>

#include "doors/dns/dns_exchange.h"
#include "doors/testing/dns.h"

namespace cleanroom::doors {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using wire::Rcode;
namespace type = wire::dns_type;

ResolverConfig Config(std::vector<net::DnsServer> servers) {
  ResolverConfig config;
  config.servers = std::move(servers);
  config.attempt_limit = milliseconds(100);
  config.total_limit = seconds(5);
  return config;
}

std::vector<std::string> Texts(const Result<wire::DnsAnswer>& answer) {
  std::vector<std::string> texts;
  if (!answer) return {answer.error().ToString()};
  for (const auto& record : answer->answers) {
    texts.push_back(record.address ? record.address->ToString() : record.target);
  }
  return texts;
}

std::vector<Packet> Honest(const Packet& query) {
  return {Answered(query, {AddressOf(wire::ParseQuery(query)->name, "93.184.216.34")})};
}
std::vector<Packet> Silent(const Packet&) { return {}; }
std::vector<Packet> ServFail(const Packet& query) {
  return {Answered(query, {}, Rcode::kServFail)};
}

class ResolverTest : public ::testing::Test {
 protected:
  Result<wire::DnsAnswer> Ask(Resolver& resolver, std::string name, uint16_t of = type::kA) {
    return RunTask(io_, resolver.Resolve(std::move(name), of));
  }
  asio::io_context io_;
};

TEST_F(ResolverTest, EachQuestionHasItsOwnIdPortAndSpelling) {
  std::vector<std::string> spellings;
  std::vector<int> ids;
  FakeDnsServer server(io_, [&](const Packet& query) {
    spellings.push_back(wire::ParseQuery(query)->name);
    ids.push_back(wire::ParseQuery(query)->id);
    return Honest(query);
  });
  Resolver resolver(io_.get_executor(), Config({server.address()}));
  for (int i = 0; i < 4; ++i) {
    const std::string name = "a-rather-long-name-" + std::to_string(i) + ".example.com";
    EXPECT_THAT(Texts(Ask(resolver, name)), ElementsAre("93.184.216.34"));
    std::string lower = spellings.back();
    for (char& c : lower) c = static_cast<char>(std::tolower(c));
    EXPECT_EQ(lower, name);
    EXPECT_NE(spellings.back(), name);
  }
  EXPECT_FALSE(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] == ids[3]);
}

TEST_F(ResolverTest, AnswersAreRememberedForTheirTime) {
  FakeDnsServer server(io_, Honest);
  auto now = steady_clock::now();
  ResolverConfig config = Config({server.address()});
  config.now = [&now] { return now; };
  Resolver resolver(io_.get_executor(), config);
  EXPECT_FALSE(resolver.Remembered("a.example.com", type::kA).has_value());
  EXPECT_TRUE(Ask(resolver, "a.example.com").has_value());
  now += seconds(299);
  EXPECT_EQ(Ask(resolver, "a.example.com")->answers[0].ttl, 1U);
  EXPECT_TRUE(resolver.Remembered("a.example.com", type::kA).has_value());
  EXPECT_EQ(server.seen.size(), 1U);
  now += seconds(1);
  EXPECT_TRUE(Ask(resolver, "a.example.com").has_value());
  EXPECT_EQ(server.seen.size(), 2U);
}

Awaitable<void> Collect(Resolver* resolver, std::string name, std::vector<std::string>* into) {
  const auto answer = co_await resolver->Resolve(std::move(name), type::kA);
  into->push_back(answer ? Texts(answer).front() : std::string(ToString(answer.error().code())));
}

Awaitable<bool> JoinAll(TaskScope& scope) {
  co_await scope.Join();
  co_return true;
}

TEST_F(ResolverTest, EqualQuestionsAtTheSameTimeShareOne) {
  FakeDnsServer server(io_, Honest);
  Resolver resolver(io_.get_executor(), Config({server.address()}));
  TaskScope scope(io_.get_executor());
  std::vector<std::string> answers;
  for (int i = 0; i < 50; ++i) scope.Spawn(Collect(&resolver, "a.example.com", &answers));
  RunTask(io_, JoinAll(scope));
  EXPECT_EQ(answers, std::vector<std::string>(50, "93.184.216.34"));
  EXPECT_EQ(server.seen.size(), 1U);
}

Awaitable<bool> UntilSeen(FakeDnsServer& server, size_t count) {
  while (server.seen.size() < count) {
    const auto slept = co_await SleepFor(milliseconds(1));
    if (!slept) co_return false;
  }
  co_return true;
}

TEST_F(ResolverTest, ACancelledAskerHandsTheQuestionOver) {
  int queries = 0;
  FakeDnsServer server(
      io_, [&](const Packet& query) { return ++queries == 1 ? Silent(query) : Honest(query); });
  ResolverConfig config = Config({server.address()});
  config.attempt_limit = seconds(30);
  config.total_limit = seconds(30);
  Resolver resolver(io_.get_executor(), config);
  TaskScope first(io_.get_executor());
  TaskScope others(io_.get_executor());
  std::vector<std::string> cancelled;
  std::vector<std::string> answers;
  first.Spawn(Collect(&resolver, "a.example.com", &cancelled));
  RunTask(io_, UntilSeen(server, 1));
  for (int i = 0; i < 3; ++i) others.Spawn(Collect(&resolver, "a.example.com", &answers));
  io_.poll();
  first.Cancel();
  RunTask(io_, JoinAll(first));
  RunTask(io_, JoinAll(others));
  EXPECT_THAT(cancelled, ElementsAre("canceled"));
  EXPECT_EQ(answers, std::vector<std::string>(3, "93.184.216.34"));
  EXPECT_EQ(server.seen.size(), 2U);
}

TEST_F(ResolverTest, WhenAllAreCancelledNothingIsLeft) {
  FakeDnsServer server(io_, Silent);
  ResolverConfig config = Config({server.address()});
  config.max_in_flight = 1;
  config.attempt_limit = seconds(30);
  Resolver resolver(io_.get_executor(), config);
  for (int round = 0; round < 2; ++round) {
    TaskScope scope(io_.get_executor());
    std::vector<std::string> answers;
    for (int i = 0; i < 3; ++i) scope.Spawn(Collect(&resolver, "a.example.com", &answers));
    RunTask(io_, UntilSeen(server, static_cast<size_t>(round) + 1));
    EXPECT_EQ(Ask(resolver, "b.example.com").error().code(), ErrorCode::kResourceExhausted);
    scope.Cancel();
    RunTask(io_, JoinAll(scope));
    EXPECT_EQ(answers, std::vector<std::string>(3, "canceled"));
  }
}

TEST_F(ResolverTest, ASilentServerIsPassedOverAndThenAskedLast) {
  FakeDnsServer silent(io_, Silent);
  FakeDnsServer good(io_, Honest);
  Resolver resolver(io_.get_executor(), Config({silent.address(), good.address()}));
  EXPECT_THAT(Texts(Ask(resolver, "a.example.com")), ElementsAre("93.184.216.34"));
  EXPECT_THAT(Texts(Ask(resolver, "b.example.com")), ElementsAre("93.184.216.34"));
  EXPECT_EQ(silent.seen.size(), 1U);
  EXPECT_EQ(good.seen.size(), 2U);
}

TEST_F(ResolverTest, BrokenServersArePassedOverAtOnce) {
  FakeDnsServer failing(io_, ServFail);
  asio::ip::udp::socket closed(io_, {asio::ip::address_v4::loopback(), 0});
  const net::DnsServer nobody{Ip("127.0.0.1"), closed.local_endpoint().port()};
  closed.close();
  FakeDnsServer good(io_, Honest);
  ResolverConfig config = Config({failing.address(), nobody, good.address()});
  config.attempt_limit = config.total_limit = seconds(60);
  Resolver resolver(io_.get_executor(), config);
  EXPECT_THAT(Texts(Ask(resolver, "a.example.com")), ElementsAre("93.184.216.34"));
}

TEST_F(ResolverTest, FailuresNameTheServers) {
  FakeDnsServer failing(io_, ServFail);
  FakeDnsServer silent(io_, Silent);
  ResolverConfig config = Config({failing.address(), silent.address()});
  config.attempt_limit = milliseconds(20);
  Resolver resolver(io_.get_executor(), config);
  const auto answer = Ask(resolver, "a.example.com");
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(answer.error().message(),
              AllOf(HasSubstr("a.example.com A"),
                    HasSubstr(ToString(failing.address()) + " (it answered SERVFAIL)"),
                    HasSubstr(ToString(silent.address()) + " (it did not answer)")));
  EXPECT_EQ(failing.seen.size(), 1U);
  EXPECT_EQ(silent.seen.size(), 3U);

  Resolver only_silent(io_.get_executor(), [&] {
    ResolverConfig one = Config({silent.address()});
    one.attempt_limit = one.total_limit = milliseconds(20);
    return one;
  }());
  EXPECT_EQ(Ask(only_silent, "a.example.com").error().code(), ErrorCode::kDeadlineExceeded);
  Resolver none(io_.get_executor(), Config({}));
  EXPECT_EQ(Ask(none, "a.example.com").error().code(), ErrorCode::kUnavailable);
}

// Lies ------------------------------------------------------------------------------------------

Packet Lie(const Packet& query) {
  return Answered(query, {AddressOf(wire::ParseQuery(query)->name, "6.6.6.6")});
}

TEST_F(ResolverTest, OtherIdsAreNotHeard) {
  FakeDnsServer server(io_, [](const Packet& query) {
    std::vector<Packet> replies;
    for (int i = 1; i <= 5; ++i) {
      Packet lie = Lie(query);
      lie[1] = static_cast<uint8_t>(lie[1] ^ i);
      replies.push_back(lie);
    }
    replies.push_back({1});
    replies.push_back(Honest(query).front());
    return replies;
  });
  Resolver resolver(io_.get_executor(), Config({server.address()}));
  EXPECT_THAT(Texts(Ask(resolver, "a.example.com")), ElementsAre("93.184.216.34"));
}

TEST_F(ResolverTest, AFloodOfOtherIdsEndsTheAttempt) {
  FakeDnsServer server(io_, [](const Packet& query) {
    Packet lie = Lie(query);
    lie[0] = static_cast<uint8_t>(lie[0] ^ 1U);
    return std::vector<Packet>(200, lie);
  });
  ResolverConfig config = Config({server.address()});
  config.attempt_limit = config.total_limit = seconds(60);
  Resolver resolver(io_.get_executor(), config);
  EXPECT_EQ(Ask(resolver, "a.example.com").error().code(), ErrorCode::kUnavailable);
}

TEST_F(ResolverTest, OtherPortsAreNotHeard) {
  asio::ip::udp::socket liar(io_, {asio::ip::address_v4::loopback(), 0});
  FakeDnsServer quiet(io_, Silent);
  ResolverConfig config = Config({quiet.address()});
  config.attempt_limit = config.total_limit = milliseconds(300);
  Resolver resolver(io_.get_executor(), config);
  TaskScope scope(io_.get_executor());
  std::vector<std::string> answers;
  scope.Spawn(Collect(&resolver, "a.example.com", &answers));
  RunTask(io_, UntilSeen(quiet, 1));
  liar.send_to(asio::buffer(Lie(quiet.seen.front())), quiet.from);
  RunTask(io_, JoinAll(scope));
  EXPECT_THAT(answers, ElementsAre("deadline_exceeded"));
}

Packet Lowered(Packet reply) {
  for (size_t i = 12; i < reply.size() && reply[i] != 0; ++i) {
    reply[i] = static_cast<uint8_t>(std::tolower(reply[i]));
  }
  return reply;
}

TEST_F(ResolverTest, AnotherSpellingIsAskedAgainOverTcp) {
  const auto lowering = [](const Packet& query) {
    return std::vector<Packet>{Lowered(Lie(query))};
  };
  FakeDnsServer server(io_, lowering, Honest);
  Resolver resolver(io_.get_executor(), Config({server.address()}));
  EXPECT_THAT(Texts(Ask(resolver, "a-name-with-letters.example.com")),
              ElementsAre("93.184.216.34"));
  EXPECT_EQ(server.tcp_queries, 1);
  FakeDnsServer no_tcp(io_, lowering);
  Resolver other(io_.get_executor(), Config({no_tcp.address()}));
  EXPECT_EQ(Ask(other, "a-name-with-letters.example.com").error().code(), ErrorCode::kUnavailable);
}

TEST_F(ResolverTest, AnotherQuestionIsNoAnswer) {
  FakeDnsServer server(io_, [](const Packet& query) {
    Packet other = wire::WriteQuery(wire::ParseQuery(query)->id, "evil.example.com", type::kA);
    return std::vector<Packet>{Lie(other)};
  });
  Resolver resolver(io_.get_executor(), Config({server.address()}));
  EXPECT_FALSE(Ask(resolver, "a.example.com").has_value());
}

TEST_F(ResolverTest, RecordsOfOtherNamesAreLeftOut) {
  FakeDnsServer server(io_, [](const Packet& query) {
    return std::vector<Packet>{
        Answered(query, {AddressOf("evil.example.com", "6.6.6.6"),
                         AddressOf(wire::ParseQuery(query)->name, "93.184.216.34")})};
  });
  Resolver resolver(io_.get_executor(), Config({server.address()}));
  EXPECT_THAT(Texts(Ask(resolver, "a.example.com")), ElementsAre("93.184.216.34"));
}

TEST_F(ResolverTest, CutAndGarbledAnswersAreAskedAgainOverTcp) {
  const auto cut = [](const Packet& query) {
    Packet reply = Honest(query).front();
    reply[2] |= 2U;  // TC
    reply.resize(reply.size() - 8);
    return std::vector<Packet>{reply};
  };
  FakeDnsServer server(io_, cut, Honest);
  Resolver resolver(io_.get_executor(), Config({server.address()}));
  EXPECT_THAT(Texts(Ask(resolver, "a.example.com")), ElementsAre("93.184.216.34"));
  EXPECT_EQ(server.tcp_queries, 1);

  const auto garbled = [](const Packet& query) {
    Packet reply = query;
    reply[2] |= 0x80U;
    reply[7] = 200;  // records that are not there
    return std::vector<Packet>{reply};
  };
  FakeDnsServer wrong(io_, garbled, garbled);
  Resolver other(io_.get_executor(), Config({wrong.address()}));
  EXPECT_EQ(Ask(other, "a.example.com").error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(wrong.tcp_queries, 1);
}

// A real server ---------------------------------------------------------------------------------

TEST_F(ResolverTest, RealServer) {
  std::string lines = "local=/example.com/\ncname=alias.example.com,www.example.com\n";
  for (int i = 0; i < 30; ++i) {
    lines += "txt-record=big.example.com," + std::string(200, 'a') + std::to_string(i) + "\n";
  }
  const Dnsmasq server(lines,
                       "93.184.216.34 www.example.com\n93.184.216.35 www.example.com\n"
                       "2606:2800:220:1::1 www.example.com\n93.184.216.36 four.example.com\n");
  ResolverConfig config = Config({server.address()});
  config.attempt_limit = seconds(20);
  config.total_limit = seconds(20);
  Resolver resolver(io_.get_executor(), config);
  EXPECT_THAT(Texts(Ask(resolver, "www.example.com")),
              ::testing::UnorderedElementsAre("93.184.216.34", "93.184.216.35"));
  EXPECT_EQ(Texts(Ask(resolver, "alias.example.com")).front(), "www.example.com");
  EXPECT_EQ(Texts(Ask(resolver, "alias.example.com")).size(), 3U);
  const auto missing = Ask(resolver, "missing.example.com");
  ASSERT_TRUE(missing.has_value());
  EXPECT_EQ(missing->rcode, Rcode::kNxDomain);
  const auto big = Ask(resolver, "big.example.com", type::kTxt);
  ASSERT_TRUE(big.has_value());
  EXPECT_EQ(big->answers.size(), 30U);
  const auto elsewhere = Ask(resolver, "www.example.org");
  ASSERT_FALSE(elsewhere.has_value());
  EXPECT_THAT(elsewhere.error().message(), HasSubstr("it answered REFUSED"));

  const auto both = RunTask(io_, resolver.ResolveAddresses("www.example.com"));
  ASSERT_TRUE(both.has_value());
  EXPECT_THAT(both->list, ::testing::UnorderedElementsAre(Ip("93.184.216.34"), Ip("93.184.216.35"),
                                                          Ip("2606:2800:220:1::1")));
  const auto one = RunTask(io_, resolver.ResolveAddresses("four.example.com"));
  ASSERT_TRUE(one.has_value());
  EXPECT_THAT(one->list, ElementsAre(Ip("93.184.216.36")));
  const auto none = RunTask(io_, resolver.ResolveAddresses("missing.example.com"));
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().code(), ErrorCode::kNotFound);
}

TEST_F(ResolverTest, OneFamilyIsEnough) {
  FakeDnsServer server(io_, [](const Packet& query) {
    const auto parsed = wire::ParseQuery(query);
    if (parsed->type == type::kAaaa) return ServFail(query);
    std::vector<wire::DnsRecord> records;
    records.reserve(101);
    for (int i = 0; i < 100; ++i) {
      records.push_back(AddressOf(parsed->name, "93.184.216." + std::to_string(i), 70));
    }
    records.push_back(records.front());
    return std::vector<Packet>{Answered(query, std::move(records))};
  });
  Resolver resolver(io_.get_executor(), Config({server.address()}));
  const auto found = RunTask(io_, resolver.ResolveAddresses("a.example.com"));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->list.size(), 64U);
  EXPECT_EQ(found->ttl, seconds(70));
  FakeDnsServer broken(io_, ServFail);
  Resolver other(io_.get_executor(), Config({broken.address()}));
  EXPECT_EQ(RunTask(io_, other.ResolveAddresses("a.example.com")).error().code(),
            ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace cleanroom::doors
