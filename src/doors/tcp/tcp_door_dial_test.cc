// Which address a connection through the TCP door is dialled to, when, and who speaks first.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doors/tcp/tcp_door.h"
#include "doors/testing/servers.h"
#include "doors/testing/world.h"

namespace cleanroom::doors {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kNetwork =
    "    allow:\n"
    "      - a.example:443\n"
    "      - a.example:80\n"
    "      - a.example:22\n"
    "      - { host: later.example, ports: [443] }\n";
constexpr char kShared[] = "93.184.216.34";
constexpr char kOther[] = "93.184.216.99";
constexpr char kHosts[] = "93.184.216.34 a.example\n";

Awaitable<void> HangUp(Client& client) {
  client.stream().Close();
  co_return;
}

TEST(TcpDoorDialTest, DialsTheNameByItsOwnResolution) {
  World world(kNetwork, kHosts);
  TestServer right(world.io(), At(kShared, 80), Http);
  TestServer stale(world.io(), At(kOther, 80), Http);
  world.Open(80);
  // The guest was once told another address.
  world.RememberStale(kOther, "a.example");
  const auto client = world.Connect(At(kOther, 80));
  RunTask(world.io(), client->Send(Get("a.example")));
  EXPECT_EQ(RunTask(world.io(), client->Read(Ok("hello").size())).bytes, Ok("hello"));
  EXPECT_EQ(right.accepted(), 1);
  EXPECT_EQ(stale.accepted(), 0);
}

TEST(TcpDoorDialTest, ASlowGuestIsNotRefusedForADeadAddress) {
  World world(kNetwork, kHosts);
  TestServer right(world.io(), At(kShared, 80), Http);
  world.Open(80);
  // Fresh, but nothing listens there: it is dialled after config.ahead, and fails at once.
  world.Remember(kOther, "a.example");
  const auto client = world.Connect(At(kOther, 80));
  EXPECT_TRUE(RunTask(world.io(), SleepFor(milliseconds(10))));
  RunTask(world.io(), client->Send(Get("a.example")));
  EXPECT_EQ(RunTask(world.io(), client->Read(Ok("hello").size())).bytes, Ok("hello"));
  EXPECT_EQ(right.accepted(), 1);
}

TEST(TcpDoorDialTest, ASlowGuestDoesNotWaitForASilentAddress) {
  World world(kNetwork, kHosts);
  ASSERT_EQ(LoseWhatIsSentTo(kOther), "");
  TestServer right(world.io(), At(kShared, 80), Http);
  world.Open(80);
  world.Remember(kOther, "a.example");
  const auto client = world.Connect(At(kOther, 80));
  // The attempt, which would last ten seconds, is under way.
  EXPECT_TRUE(RunTask(world.io(), SleepFor(milliseconds(30))));
  RunTask(world.io(), client->Send(Get("a.example")));
  const Seen seen = RunTask(world.io(), client->Read(Ok("hello").size()));
  EXPECT_EQ(seen.bytes, Ok("hello"));
  EXPECT_LT(seen.took, milliseconds(2000));
}

TEST(TcpDoorDialTest, ASilentAddressHasItsTimeOnce) {
  TcpDoorConfig config;
  config.dialer.limit = milliseconds(1000);
  World world(kNetwork, kHosts, config);
  ASSERT_EQ(LoseWhatIsSentTo(kShared), "");
  world.Open(443);
  world.Remember(kShared, "a.example");
  const auto client = world.Connect(At(kShared, 443));
  EXPECT_TRUE(RunTask(world.io(), SleepFor(milliseconds(700))));
  RunTask(world.io(), client->Send(ClientHello("a.example")));
  const Seen seen = RunTask(world.io(), client->Read());
  EXPECT_EQ(seen.bytes, Alert(80));
  EXPECT_LT(seen.took, milliseconds(900));
  EXPECT_EQ(world.sink().last(), "upstream_failed");
}

TEST(TcpDoorDialTest, AServerThatOnlyHangsUpHasNotSpokenFirst) {
  TcpDoorConfig config;
  config.connection.quiet = milliseconds(2000);
  World world(kNetwork, kHosts, config);
  TestServer right(world.io(), At(kShared, 80), Http);
  TestServer other(world.io(), At(kOther, 80), HangUp);
  world.Open(80);
  world.Remember(kOther, "a.example");
  const auto client = world.Connect(At(kOther, 80));
  ASSERT_TRUE(world.Until([&] { return other.accepted() == 1; }));
  RunTask(world.io(), client->Send(Get("a.example")));
  EXPECT_EQ(RunTask(world.io(), client->Read(Ok("hello").size())).bytes, Ok("hello"));

  // A guest that has nothing to say is told in the end.
  const Seen silent = world.Exchange(At(kOther, 80), "");
  EXPECT_EQ(silent.how, "end");
  EXPECT_GE(silent.took, milliseconds(1500));
}

TEST(TcpDoorDialTest, TheServerMaySpeakFirst) {
  World world(kNetwork, kHosts);
  TestServer server(world.io(), At(kShared, 22), Banner);
  world.Open(22);
  world.Remember(kShared, "a.example");
  const auto client = world.Connect(At(kShared, 22));
  EXPECT_EQ(RunTask(world.io(), client->Read(14)).bytes, "SSH-2.0-test\r\n");
  RunTask(world.io(), client->Send("SSH-2.0-client\r\n"));
  EXPECT_EQ(RunTask(world.io(), client->Read(18)).bytes, "<SSH-2.0-client\r\n>");
  EXPECT_EQ(world.sink().last(), "allowed");
  EXPECT_EQ(world.sink().decisions.back().host, "a.example");

  // A name shown after that must be one of this address.
  const auto tls = world.Connect(At(kShared, 22));
  EXPECT_EQ(RunTask(world.io(), tls->Read(14)).bytes, "SSH-2.0-test\r\n");
  RunTask(world.io(), tls->Send(ClientHello("evil.example")));
  EXPECT_EQ(RunTask(world.io(), tls->Read()).how, "reset");
  EXPECT_EQ(world.sink().last(), "host_not_allowed");
}

TEST(TcpDoorDialTest, AServerThatSpeaksFirstIsNotWaitedFor) {
  TcpDoorConfig config;
  config.connection.quiet = std::chrono::hours(1);
  World world(kNetwork, kHosts, config);
  TestServer server(world.io(), At(kShared, 22), Banner);
  world.Open(22);
  world.Remember(kShared, "a.example");
  const auto client = world.Connect(At(kShared, 22));
  EXPECT_EQ(RunTask(world.io(), client->Read(14)).bytes, "SSH-2.0-test\r\n");
  EXPECT_EQ(world.door().undecided(), 0U);
}

TEST(TcpDoorDialTest, WithoutANameTheAnswerMustBeFresh) {
  World world(kNetwork, kHosts);
  TestServer server(world.io(), At(kShared, 22), Banner);
  TestServer http(world.io(), At(kShared, 80), Http);
  world.Open(22);
  world.Open(80);
  world.RememberStale(kShared, "a.example");
  const Seen silent = world.Exchange(At(kShared, 22), "");
  EXPECT_EQ(silent.how, "reset");
  EXPECT_EQ(silent.bytes, "");
  EXPECT_LT(silent.took, milliseconds(60));
  EXPECT_EQ(world.sink().last(), "address_not_resolved");
  EXPECT_EQ(world.Exchange(At(kShared, 22), "SSH-2.0-x\r\n").how, "reset");
  // What shows its name is still served.
  const auto client = world.Connect(At(kShared, 80));
  RunTask(world.io(), client->Send(Get("a.example")));
  EXPECT_THAT(RunTask(world.io(), client->Read(5)).bytes, StartsWith("HTTP/"));
  world.Remember(kShared, "a.example");
  const auto fresh = world.Connect(At(kShared, 22));
  EXPECT_EQ(RunTask(world.io(), fresh->Read(14)).bytes, "SSH-2.0-test\r\n");
}

TEST(TcpDoorDialTest, ASlowGuestIsHeldToItsNameToo) {
  World world(kNetwork, kHosts);
  TestServer server(world.io(), At(kShared, 443), Echo);
  world.Open(443);
  world.Remember(kShared, "a.example");
  // The door has dialled the address by the time the hello comes.
  const auto client = world.Connect(At(kShared, 443));
  ASSERT_TRUE(world.Until([&] { return server.accepted() == 1; }));
  RunTask(world.io(), client->Send(ClientHello("a.example")));
  EXPECT_THAT(RunTask(world.io(), client->Read(10)).bytes, StartsWith("<\x16"));
  EXPECT_EQ(server.accepted(), 1);
  const auto evil = world.Connect(At(kShared, 443));
  ASSERT_TRUE(world.Until([&] { return server.accepted() == 2; }));
  RunTask(world.io(), evil->Send(ClientHello("evil.example")));
  EXPECT_EQ(RunTask(world.io(), evil->Read()).bytes, Alert(49));
  EXPECT_EQ(world.sink().last(), "host_not_allowed");
}

TEST(TcpDoorDialTest, AnUpstreamThatIsNotThere) {
  World world(kNetwork, kHosts);
  world.Open(443);
  world.Open(80);
  world.Open(22);
  world.Remember(kShared, "a.example");
  EXPECT_EQ(world.Exchange(At(kShared, 443), ClientHello("a.example")).bytes, Alert(80));
  EXPECT_EQ(world.sink().last(), "upstream_failed");
  EXPECT_THAT(world.Exchange(At(kShared, 80), Get("a.example")).bytes, StartsWith("HTTP/1.1 502 "));
  EXPECT_THAT(world.sink().decisions.back().message, HasSubstr("Connection refused"));
  EXPECT_EQ(world.Exchange(At(kShared, 22), "").how, "reset");
  EXPECT_EQ(world.sink().open, 0);
  world.Remember(kShared, "later.example");
  EXPECT_EQ(world.Exchange(At(kShared, 443), ClientHello("later.example")).bytes, Alert(80));
  EXPECT_EQ(world.sink().last(), "resolver_failed");
}

}  // namespace
}  // namespace cleanroom::doors
