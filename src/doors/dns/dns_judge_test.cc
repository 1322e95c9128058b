#include "doors/dns/dns_judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doors/dns/dns_name.h"
#include "doors/testing/dns.h"

namespace cleanroom::doors {
namespace {

using policy::Protocol;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using wire::DnsAnswer;
using wire::DnsRecord;
using wire::Rcode;
namespace type = wire::dns_type;

constexpr std::string_view kNetwork =
    "    allow:\n"
    "      - api.example.com:443\n"
    "      - \"*.wild.example.com:443\"\n"
    "      - { cidr: 10.1.0.0/16, ports: [443] }\n"
    "    deny:\n"
    "      - { host: evil.wild.example.com }\n"
    "      - { cidr: 93.184.217.0/24 }\n";

const DnsJudge::Clock::time_point kStart{seconds(1000)};

struct Told {
  Rcode rcode = Rcode::kNoError;
  std::vector<std::string> answers;  // addresses, targets of CNAMEs, else the name of the type
  std::string text;                  // of the message, unprintable bytes and all
};

class DnsJudgeTest : public ::testing::Test {
 protected:
  explicit DnsJudgeTest(std::string_view network = kNetwork) : rules_(RulesOf(network)) {}

  DnsJudge::Step Begin(std::string_view name, uint16_t of = type::kA,
                       Protocol transport = Protocol::kUdp) {
    query_ = wire::WriteQuery(7, name, of);
    return judge_.Begin(query_, transport, now_);
  }
  Told Read(const DnsJudge::Message& message, std::string_view name, uint16_t of) {
    const auto answer = wire::ParseAnswer(message, 7, name, of);
    EXPECT_TRUE(answer.has_value());
    if (!answer) return {};
    Told told{.rcode = answer->rcode, .answers = {}, .text = {message.begin(), message.end()}};
    for (const DnsRecord& record : answer->answers) {
      told.answers.push_back(record.address                ? record.address->ToString()
                             : record.type == type::kCname ? record.target
                                                           : wire::DnsTypeName(record.type));
    }
    for (const DnsRecord& record : answer->authority) {
      told.answers.push_back("authority " + wire::DnsTypeName(record.type));
    }
    return told;
  }
  // The answer given at once.
  Told AtOnce(std::string_view name, uint16_t of = type::kA) {
    const DnsJudge::Step step = Begin(name, of);
    const auto* message = std::get_if<DnsJudge::Message>(&step);
    EXPECT_NE(message, nullptr) << name << " was let through";
    return message == nullptr ? Told{} : Read(*message, name, of);
  }
  bool Passes(std::string_view name, uint16_t of = type::kA) {
    return std::holds_alternative<DnsJudge::Question>(Begin(name, of));
  }
  // What is told of an answer to a question that passed.
  Told After(std::string_view name, const Result<DnsAnswer>& answer, uint16_t of = type::kA) {
    const DnsJudge::Step step = Begin(name, of);
    const auto* question = std::get_if<DnsJudge::Question>(&step);
    EXPECT_NE(question, nullptr) << name << " was not let through";
    return question == nullptr ? Told{} : Read(judge_.Finish(*question, answer, now_), name, of);
  }
  std::vector<std::string> NamesOf(std::string_view address) {
    std::vector<std::string> names;
    for (const auto& name : memory_.Lookup(Ip(address), now_)) names.push_back(name.name);
    return names;
  }

  Rules rules_;
  NameMemory memory_;
  SinkForTest sink_;
  DnsDoorConfig config_{.gateway = {Ip("10.0.2.1"), Ip("fd00:c1ea:0:2::1")}};
  DnsJudge judge_{config_, rules_, memory_, sink_};
  DnsJudge::Clock::time_point now_ = kStart;
  Packet query_;
};

DnsAnswer Answer(std::vector<DnsRecord> records) {
  DnsAnswer answer;
  answer.answers = std::move(records);
  return answer;
}

DnsRecord Cname(std::string name, const std::string& target) {
  DnsRecord record;
  record.name = std::move(name);
  record.type = type::kCname;
  record.ttl = 60;
  record.target = target;
  record.data = *wire::NameFromText(target);
  return record;
}

TEST_F(DnsJudgeTest, NamesWithoutARuleAreRefusedWithTheReason) {
  const Told told = AtOnce("other.example.com");
  EXPECT_EQ(told.rcode, Rcode::kRefused);
  EXPECT_THAT(told.text, HasSubstr(std::string("\0\x12other.example.com is not allowed", 34)));
  ASSERT_EQ(sink_.decisions.size(), 1U);
  const Decision& decision = sink_.decisions[0];
  EXPECT_EQ(decision.service, Service::kDns);
  EXPECT_EQ(decision.code, Code::kHostNotAllowed);
  EXPECT_EQ(decision.host, "other.example.com");
  EXPECT_EQ(AllowLine(*decision.suggestion), "- other.example.com:443");
  EXPECT_EQ(AtOnce("evil.wild.example.com").rcode, Rcode::kRefused);
  EXPECT_EQ(sink_.last(), "denied_by_rule");
  for (const auto* name : {"wild.example.com", "a.b.wild.example.com", "x.api.example.com",
                           "printer", "printer.local", "a.test", "127.0.0.1", "."}) {
    EXPECT_EQ(AtOnce(name).rcode, Rcode::kRefused) << name;
  }
}

TEST_F(DnsJudgeTest, AllowedNamesPassInNormalForm) {
  const DnsJudge::Step step = Begin("API.Example.com");
  const auto* question = std::get_if<DnsJudge::Question>(&step);
  ASSERT_NE(question, nullptr);
  EXPECT_EQ(question->name, "api.example.com");
  EXPECT_FALSE(question->wildcard);
  EXPECT_THAT(sink_.decisions, IsEmpty());
  const DnsJudge::Step other = Begin("a.wild.example.com");
  ASSERT_TRUE(std::holds_alternative<DnsJudge::Question>(other));
  EXPECT_TRUE(std::get<DnsJudge::Question>(other).wildcard);
}

TEST_F(DnsJudgeTest, TypesThatNoDoorPasses) {
  for (const uint16_t of : {type::kA, type::kAaaa, type::kHttps, type::kMx, type::kTxt, type::kSrv,
                            type::kNs, type::kSoa, type::kCaa, type::kNaptr, type::kPtr}) {
    EXPECT_TRUE(Passes("api.example.com", of)) << of;
  }
  for (const uint16_t of : {uint16_t{10}, uint16_t{46}, type::kAny, uint16_t{65280}}) {
    EXPECT_EQ(AtOnce("api.example.com", of).rcode, Rcode::kRefused) << of;
    EXPECT_EQ(sink_.last(), "unsupported");
  }
  EXPECT_EQ(AtOnce("api.example.com", 252).rcode, Rcode::kNotImp);
  EXPECT_EQ(AtOnce("other.example.com", 252).rcode, Rcode::kRefused);
}

TEST_F(DnsJudgeTest, TheGatewayAndLocalhostAreAnsweredHere) {
  EXPECT_THAT(AtOnce("Gateway.cleanroom.internal").answers, ElementsAre("10.0.2.1"));
  EXPECT_THAT(AtOnce("gateway.cleanroom.internal", type::kAaaa).answers,
              ElementsAre("fd00:c1ea:0:2::1"));
  EXPECT_THAT(AtOnce("gateway.cleanroom.internal", type::kTxt).answers, IsEmpty());
  EXPECT_THAT(AtOnce("localhost").answers, ElementsAre("127.0.0.1"));
  EXPECT_THAT(AtOnce("a.localhost", type::kAaaa).answers, ElementsAre("::1"));
  EXPECT_THAT(sink_.decisions, IsEmpty());
  EXPECT_EQ(AtOnce("other.cleanroom.internal").rcode, Rcode::kRefused);
}

TEST_F(DnsJudgeTest, NamesOfAddressesComeFromMemory) {
  EXPECT_EQ(AtOnce("34.216.184.93.in-addr.arpa", type::kPtr).rcode, Rcode::kNxDomain);
  memory_.Remember(Ip("93.184.216.34"), "api.example.com", seconds(1), now_);
  EXPECT_THAT(AtOnce("34.216.184.93.in-addr.arpa", type::kPtr).answers, ElementsAre("PTR"));
  EXPECT_THAT(AtOnce("1.2.0.10.in-addr.arpa", type::kPtr).text, HasSubstr("\x07gateway\x09"
                                                                          "cleanroom\x08internal"));
  EXPECT_EQ(AtOnce("in-addr.arpa", type::kSoa).rcode, Rcode::kNxDomain);
  EXPECT_THAT(sink_.decisions, IsEmpty());
}

class DnsJudgeOpenTest : public DnsJudgeTest {
 protected:
  DnsJudgeOpenTest()
      : DnsJudgeTest(
            "    allow:\n"
            "      - secret.onion:443\n"
            "      - a.invalid:443\n"
            "      - a.test:443\n"
            "      - printer:443\n"
            "      - printer.local:443\n") {}
};

TEST_F(DnsJudgeOpenTest, SpecialNames) {
  EXPECT_EQ(AtOnce("secret.onion").rcode, Rcode::kRefused);
  EXPECT_EQ(sink_.last(), "unsupported");
  EXPECT_EQ(AtOnce("a.invalid").rcode, Rcode::kRefused);
  EXPECT_TRUE(Passes("a.test"));
  EXPECT_TRUE(Passes("printer"));
  EXPECT_TRUE(Passes("printer.local"));
}

TEST_F(DnsJudgeTest, AddressesAreRememberedUnderTheAskedName) {
  const Told told = After("api.example.com", Answer({Cname("api.example.com", "cdn.example.net"),
                                                     AddressOf("cdn.example.net", "93.184.216.34"),
                                                     AddressOf("cdn.example.net", "10.1.2.3")}));
  EXPECT_THAT(told.answers, ElementsAre("cdn.example.net", "93.184.216.34", "10.1.2.3"));
  EXPECT_THAT(NamesOf("93.184.216.34"), ElementsAre("api.example.com"));
  EXPECT_THAT(NamesOf("10.1.2.3"), ElementsAre("api.example.com"));
  ASSERT_EQ(sink_.decisions.size(), 1U);
  EXPECT_EQ(sink_.last(), "allowed");
  EXPECT_EQ(sink_.decisions[0].host, "api.example.com");
  EXPECT_GT(sink_.decisions[0].line, 0);
}

TEST_F(DnsJudgeTest, PrivateAddressesAreLeftOut) {
  const Told some = After("api.example.com", Answer({AddressOf("api.example.com", "10.0.0.5"),
                                                     AddressOf("api.example.com", "1.1.1.1"),
                                                     AddressOf("api.example.com", "127.0.0.1")}));
  EXPECT_THAT(some.answers, ElementsAre("1.1.1.1"));
  EXPECT_THAT(NamesOf("10.0.0.5"), IsEmpty());

  const Told none =
      After("api.example.com", Answer({AddressOf("api.example.com", "169.254.169.254")}));
  EXPECT_EQ(none.rcode, Rcode::kRefused);
  EXPECT_THAT(none.text,
              HasSubstr("api.example.com leads to 169.254.169.254, which is not a public "
                        "address, and no cidr rule names it"));
  EXPECT_EQ(sink_.last(), "private_address");
  EXPECT_EQ(AllowLine(*sink_.decisions.back().suggestion),
            "- { cidr: 169.254.169.254/32, ports: [443] }");
  EXPECT_THAT(NamesOf("169.254.169.254"), IsEmpty());

  for (const auto* address : {"fd00::1", "::1", "fe80::1", "64:ff9b::a00:5", "::ffff:10.0.0.5"}) {
    DnsRecord record = AddressOf("api.example.com", "2001:db8::1");
    record.address = Ip(address);
    EXPECT_EQ(After("api.example.com", Answer({record}), type::kAaaa).rcode, Rcode::kRefused);
    EXPECT_EQ(sink_.last(), "private_address") << address;
  }
  EXPECT_EQ(After("api.example.com", Answer({AddressOf("api.example.com", "0.0.0.0")})).rcode,
            Rcode::kRefused);
  EXPECT_EQ(After("api.example.com", Answer({AddressOf("api.example.com", "93.184.217.1")})).rcode,
            Rcode::kRefused);
  EXPECT_EQ(sink_.last(), "denied_by_rule");
}

TEST_F(DnsJudgeTest, NegativeAnswersKeepTheirSoa) {
  DnsAnswer no;
  no.rcode = Rcode::kNxDomain;
  DnsRecord soa;
  soa.name = "example.com";
  soa.type = type::kSoa;
  soa.data.assign(22, 0);
  no.authority = {soa};
  const Told told = After("api.example.com", no);
  EXPECT_EQ(told.rcode, Rcode::kNxDomain);
  EXPECT_THAT(told.answers, ElementsAre("authority SOA"));
  no.rcode = Rcode::kNoError;
  EXPECT_THAT(After("api.example.com", no).answers, ElementsAre("authority SOA"));
  EXPECT_EQ(sink_.last(), "allowed");
}

DnsRecord Https(const std::string& target) {
  DnsRecord record;
  record.name = "api.example.com";
  record.type = type::kHttps;
  record.data = {0, 1};
  const auto name = wire::NameFromText(target);
  record.data.insert(record.data.end(), name->begin(), name->end());
  return record;
}

TEST_F(DnsJudgeTest, ServiceRecordsLeadOnlyToAllowedNames) {
  EXPECT_THAT(After("api.example.com",
                    Answer({Https("."), Https("cdn.example.net"), Https("a.wild.example.com")}),
                    type::kHttps)
                  .answers,
              ElementsAre("HTTPS", "HTTPS"));
  const Told none = After("api.example.com", Answer({Https("cdn.example.net")}), type::kHttps);
  EXPECT_EQ(none.rcode, Rcode::kNoError);
  EXPECT_THAT(none.answers, IsEmpty());
}

TEST_F(DnsJudgeTest, ResolversThatFailAreNotNamedToTheGuest) {
  const Told told =
      After("api.example.com", Err(ErrorCode::kUnavailable, "192.168.7.7 (it answered SERVFAIL)"));
  EXPECT_EQ(told.rcode, Rcode::kServFail);
  EXPECT_THAT(told.text, HasSubstr("the host's DNS servers gave no answer"));
  EXPECT_THAT(told.text, ::testing::Not(HasSubstr("192.168")));
  EXPECT_EQ(sink_.last(), "resolver_failed");
  EXPECT_THAT(sink_.decisions.back().message, HasSubstr("192.168.7.7"));
  EXPECT_EQ(After("api.example.com", Err(ErrorCode::kResourceExhausted, "full")).rcode,
            Rcode::kRefused);
  EXPECT_EQ(sink_.last(), "limit_exceeded");
}

TEST_F(DnsJudgeTest, QueriesASecondAreLimited) {
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    if (!Passes("api.example.com")) ++refused;
  }
  EXPECT_EQ(refused, 600);
  EXPECT_EQ(sink_.last(), "limit_exceeded");
  EXPECT_THAT(AtOnce("api.example.com").text, HasSubstr("more than 200 DNS queries a second"));
  now_ += seconds(1);
  EXPECT_TRUE(Passes("api.example.com"));
}

TEST_F(DnsJudgeTest, TunnelsUnderAWildcardAreRefused) {
  EXPECT_EQ(AtOnce(std::string(60, 'a') + ".wild.example.com").rcode, Rcode::kRefused);
  EXPECT_EQ(sink_.last(), "tunnel_suspected");
  int passed = 0;
  for (int i = 0; i < 200; ++i) {
    if (Passes("data" + std::to_string(i) + ".wild.example.com")) ++passed;
  }
  EXPECT_EQ(passed, 60);
  EXPECT_TRUE(Passes("api.example.com"));
  // What goes out again and again for one name.
  const DnsJudge::Step step = Begin("data1.wild.example.com");
  const auto& question = std::get<DnsJudge::Question>(step);
  int sent = 0;
  for (int i = 0; i < 2000; ++i) {
    if (!judge_.BeforeAsking(question, now_)) ++sent;
  }
  EXPECT_EQ(sent, 12'288 / 22);
  EXPECT_EQ(sink_.last(), "tunnel_suspected");
}

TEST_F(DnsJudgeTest, WhatIsNoQuery) {
  EXPECT_TRUE(std::holds_alternative<DnsJudge::Silence>(
      judge_.Begin(Packet{1, 2, 3}, Protocol::kUdp, now_)));
  EXPECT_EQ(sink_.last(), "malformed");
  Packet query = wire::WriteQuery(7, "api.example.com", type::kA);
  query[4] = 9;  // questions
  DnsJudge::Step step = judge_.Begin(query, Protocol::kUdp, now_);
  const auto* reply = std::get_if<DnsJudge::Message>(&step);
  ASSERT_NE(reply, nullptr);
  EXPECT_EQ((*reply)[3] & 15, 1);  // FORMERR
  query = wire::WriteQuery(7, "api.example.com", type::kA);
  query[2] |= 0x28U;  // opcode UPDATE
  step = judge_.Begin(query, Protocol::kUdp, now_);
  reply = std::get_if<DnsJudge::Message>(&step);
  ASSERT_NE(reply, nullptr);
  EXPECT_EQ((*reply)[3] & 15, 4);  // NOTIMP
  EXPECT_EQ(sink_.last(), "unsupported");
}

TEST_F(DnsJudgeTest, AnswersFitTheirTransport) {
  std::vector<DnsRecord> many;
  many.reserve(100);
  for (int i = 0; i < 100; ++i) {
    many.push_back(AddressOf("api.example.com", "93.184.216." + std::to_string(i)));
  }
  const DnsJudge::Step by_udp = Begin("api.example.com");
  const auto cut = judge_.Finish(std::get<DnsJudge::Question>(by_udp), Answer(many), now_);
  EXPECT_LE(cut.size(), 1232U);
  EXPECT_TRUE(wire::ParseAnswer(cut, 7, "api.example.com", type::kA)->truncated);
  const DnsJudge::Step by_tcp = Begin("api.example.com", type::kA, Protocol::kTcp);
  const auto whole = judge_.Finish(std::get<DnsJudge::Question>(by_tcp), Answer(many), now_);
  EXPECT_EQ(wire::ParseAnswer(whole, 7, "api.example.com", type::kA)->answers.size(), 100U);
}

class DnsJudgeStageTest : public DnsJudgeTest {
 protected:
  DnsJudgeStageTest()
      : DnsJudgeTest("    dependencies:\n      allow:\n        - deps.example.com:443\n") {}
};

TEST_F(DnsJudgeStageTest, AnAnswerMeetsTheStageItComesIn) {
  rules_.SetStage(policy::Stage::kDependencies);
  const DnsJudge::Step step = Begin("deps.example.com");
  const auto& question = std::get<DnsJudge::Question>(step);
  rules_.SetStage(policy::Stage::kExecution);
  const Told told =
      Read(judge_.Finish(question, Answer({AddressOf("deps.example.com", "1.1.1.1")}), now_),
           "deps.example.com", type::kA);
  EXPECT_EQ(told.rcode, Rcode::kRefused);
  EXPECT_THAT(NamesOf("1.1.1.1"), IsEmpty());
}

TEST(DnsJudgeAllowAllTest, EverythingIsLetThroughAndSaidSo) {
  auto policy = policy::PolicyForImage("example.com/a@sha256:" + std::string(64, 'a'),
                                       policy::NetworkDefault::kAllow);
  ASSERT_TRUE(policy.has_value());
  const Rules rules(*std::move(policy));
  NameMemory memory;
  SinkForTest sink;
  DnsJudge judge({}, rules, memory, sink);
  // No limits but the sandbox's own: it may send what it likes anywhere.
  for (int i = 0; i < 100; ++i) {
    const std::string name = std::string(60, 'a') + "." + std::to_string(i) + ".example.com";
    const auto step = judge.Begin(wire::WriteQuery(7, name, type::kTxt), Protocol::kUdp, kStart);
    EXPECT_TRUE(std::holds_alternative<DnsJudge::Question>(step));
  }
  const auto step =
      judge.Begin(wire::WriteQuery(7, "a.example.com", type::kA), Protocol::kUdp, kStart);
  (void)judge.Finish(std::get<DnsJudge::Question>(step),
                     Answer({AddressOf("a.example.com", "10.0.0.5")}), kStart);
  EXPECT_EQ(sink.last(), "allowed_all");
  (void)judge.Finish(std::get<DnsJudge::Question>(step),
                     Answer({AddressOf("a.example.com", "127.0.0.1")}), kStart);
  EXPECT_EQ(sink.last(), "private_address");
}

}  // namespace
}  // namespace cleanroom::doors
