#include "doors/tcp/dialer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doors/testing/world.h"

namespace cleanroom::doors {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr std::string_view kNetwork =
    "    allow:\n"
    "      - mixed.example:443\n"
    "      - private.example:443\n"
    "      - none.example:443\n"
    "      - { host: \"*.wild.example\", ports: [443] }\n"
    "    deny:\n"
    "      - { cidr: 203.0.114.0/24 }\n";
constexpr char kHosts[] =
    "10.1.1.1 mixed.example private.example\n"
    "203.0.114.1 mixed.example\n"
    "93.184.216.34 mixed.example\n"
    "169.254.169.254 private.example\n"
    "93.184.216.35 www.wild.example\n";

// An outcome has no default, which co_spawn asks for.
Awaitable<std::optional<DialOutcome<DialledConnection>>> Connect(
    Dialer& dialer, std::vector<net::Endpoint> targets) {
  auto connect = dialer.Connect(std::move(targets));
  co_return co_await std::move(connect);
}

Awaitable<std::optional<DialOutcome<DialledConnection>>> Finish(
    Race& race, std::vector<net::Endpoint> targets) {
  auto run = race.Run(std::move(targets));
  co_return co_await std::move(run);
}

Awaitable<bool> GiveUp(Race& race) {
  co_await race.Stop();
  co_return true;
}

class DialerTest : public ::testing::Test {
 protected:
  DialerTest()
      : dns_("", kHosts),
        rules_(RulesOf(kNetwork)),
        resolver_(io_.get_executor(), {.servers = {dns_.address()}}),
        dialer_(io_.get_executor(), config_, rules_, resolver_) {}

  Namespaces spaces_;
  asio::io_context io_;
  Dnsmasq dns_;
  Rules rules_;
  Resolver resolver_;
  TunnelGuard guard_;
  DialerConfig config_{.stagger = milliseconds(100),
                       .limit = milliseconds(1000),
                       .max_attempts = 16,
                       .guard = &guard_};
  Dialer dialer_;
};

TEST(InterleaveTest, FamiliesTakeTurns) {
  const std::vector<net::Endpoint> endpoints = {At("2001:db8::1", 1), At("2001:db8::2", 1),
                                                At("2001:db8::3", 1), At("192.0.2.1", 1)};
  const std::vector<net::Endpoint> turns = {At("2001:db8::1", 1), At("192.0.2.1", 1),
                                            At("2001:db8::2", 1), At("2001:db8::3", 1)};
  EXPECT_EQ(Interleave(endpoints), turns);
  EXPECT_TRUE(Interleave({}).empty());
}

TEST_F(DialerTest, OnlyAddressesThatMayBeDialledAreTargets) {
  const auto mixed = RunTask(io_, dialer_.Targets("mixed.example", 443));
  ASSERT_TRUE(mixed.has_value()) << mixed.error().message;
  EXPECT_EQ(*mixed, std::vector<net::Endpoint>{At("93.184.216.34", 443)});
  const auto inner = RunTask(io_, dialer_.Targets("private.example", 443));
  ASSERT_FALSE(inner.has_value());
  EXPECT_EQ(inner.error().code, Code::kPrivateAddress);
  const auto none = RunTask(io_, dialer_.Targets("none.example", 443));
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().code, Code::kResolverFailed);
}

TEST_F(DialerTest, ANameUnderAWildcardMayNotBeATunnel) {
  EXPECT_TRUE(RunTask(io_, dialer_.Targets("www.wild.example", 443)).has_value());
  const auto tunnel = RunTask(io_, dialer_.Targets(std::string(60, 'a') + ".wild.example", 443));
  ASSERT_FALSE(tunnel.has_value());
  EXPECT_EQ(tunnel.error().code, Code::kTunnelSuspected);
  // In small pieces: new names run out, known ones do not.
  std::optional<Code> last;
  for (int i = 0; i < 200 && last != Code::kTunnelSuspected; ++i) {
    const auto piece = RunTask(io_, dialer_.Targets(fmt::format("x{}.wild.example", i), 443));
    ASSERT_FALSE(piece.has_value());
    last = piece.error().code;
  }
  EXPECT_EQ(last, Code::kTunnelSuspected);
  EXPECT_TRUE(RunTask(io_, dialer_.Targets("www.wild.example", 443)).has_value());
}

TEST_F(DialerTest, TheFirstToAnswerWins) {
  ASSERT_EQ(LoseWhatIsSentTo("93.184.216.90"), "");
  const os::UniqueFd server = ListenAt(At("93.184.216.34", 443));
  const std::vector<net::Endpoint> targets = {At("93.184.216.80", 443), At("93.184.216.90", 443),
                                              At("93.184.216.34", 443)};
  const auto begin = std::chrono::steady_clock::now();
  const auto won = *RunTask(io_, Connect(dialer_, targets));
  const auto took = std::chrono::steady_clock::now() - begin;
  ASSERT_TRUE(won.has_value()) << won.error().message;
  EXPECT_EQ(won->endpoint, At("93.184.216.34", 443));
  net::SocketAddress peer;
  peer.size = sizeof peer.storage;
  ASSERT_EQ(getpeername(won->fd.get(), reinterpret_cast<sockaddr*>(&peer.storage), &peer.size), 0);
  EXPECT_EQ(net::FromSocketAddress(peer.storage), At("93.184.216.34", 443));
  // The refused one costs nothing, the silent one a stagger.
  EXPECT_GE(took, milliseconds(95));
  EXPECT_LT(took, milliseconds(900));

  const std::vector<net::Endpoint> silent(1, At("93.184.216.90", 443));
  const auto late = *RunTask(io_, Connect(dialer_, silent));
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().code, Code::kUpstreamFailed);
  EXPECT_THAT(late.error().message, HasSubstr("no answer in time"));
  const std::vector<net::Endpoint> refused(1, At("93.184.216.80", 443));
  const auto failed = *RunTask(io_, Connect(dialer_, refused));
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().message, HasSubstr("Connection refused"));
}

TEST_F(DialerTest, ARaceMayBeginBeforeAllAddressesAreKnown) {
  ASSERT_EQ(LoseWhatIsSentTo("93.184.216.90"), "");
  const os::UniqueFd server = ListenAt(At("93.184.216.34", 443));
  const net::Endpoint silent = At("93.184.216.90", 443);
  const net::Endpoint right = At("93.184.216.34", 443);

  // The attempt under way is the first, and has had its head start.
  auto race = dialer_.NewRace();
  race->Begin(silent);
  EXPECT_TRUE(RunTask(io_, SleepFor(milliseconds(150))));
  EXPECT_FALSE(race->ended());
  auto begin = std::chrono::steady_clock::now();
  const std::vector<net::Endpoint> both = {silent, right};
  auto won = *RunTask(io_, Finish(*race, both));
  ASSERT_TRUE(won.has_value()) << won.error().message;
  EXPECT_EQ(won->endpoint, right);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(90));

  // It has won already.
  race = dialer_.NewRace();
  race->Begin(right);
  while (!race->ended()) (void)RunTask(io_, SleepFor(milliseconds(1)));
  const std::vector<net::Endpoint> known = {right, silent};
  won = *RunTask(io_, Finish(*race, known));
  ASSERT_TRUE(won.has_value()) << won.error().message;
  EXPECT_EQ(won->endpoint, right);

  // Alone, it has no second time.
  race = dialer_.NewRace();
  race->Begin(silent);
  EXPECT_TRUE(RunTask(io_, SleepFor(milliseconds(800))));
  begin = std::chrono::steady_clock::now();
  const std::vector<net::Endpoint> alone(1, silent);
  const auto late = *RunTask(io_, Finish(*race, alone));
  ASSERT_FALSE(late.has_value());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(700));

  race = dialer_.NewRace();
  race->Begin(silent);
  EXPECT_TRUE(RunTask(io_, GiveUp(*race)));
}

}  // namespace
}  // namespace cleanroom::doors
