#include "doors/tcp/tcp_door.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
    "      - b.example:443\n"
    "      - a.example:80\n"
    "      - b.example:80\n"
    "      - a.example:22\n"
    "      - inner.example:443\n"
    "      - v6.example:80\n"
    "      - { cidr: 198.51.100.0/24, ports: [7000, 443, 80] }\n"
    "      - { host: later.example, ports: [443] }\n";
// The address that a.example and b.example share, and one that nobody has in memory.
constexpr char kShared[] = "93.184.216.34";
constexpr char kOther[] = "93.184.216.99";
constexpr char kHosts[] =
    "93.184.216.34 a.example b.example\n"
    "10.9.9.9 inner.example\n"
    "2600:1406::34 v6.example\n";

// For tests that count what the server accepted.
TcpDoorConfig NothingAhead() {
  TcpDoorConfig config;
  config.connection.ahead = std::chrono::hours(1);
  return config;
}

TEST(TcpDoorTest, CarriesWhatAnAddressRuleAllows) {
  World world(kNetwork, kHosts);
  TestServer server(world.io(), At("198.51.100.7", 7000), Echo);
  world.Open(7000);
  const auto client = world.Connect(At("198.51.100.7", 7000));
  RunTask(world.io(), client->Send("one"));
  EXPECT_EQ(RunTask(world.io(), client->Read(5)).bytes, "<one>");
  EXPECT_EQ(world.sink().open, 1);
  client->stream().FinishWriting();
  EXPECT_EQ(RunTask(world.io(), client->Read()).how, "end");
  ASSERT_TRUE(world.Until([&] { return world.door().connections() == 0; }));
  EXPECT_EQ(world.sink().last(), "allowed");
  EXPECT_EQ(world.sink().sent, 3U);
  EXPECT_EQ(world.sink().received, 5U);
  EXPECT_EQ(world.sink().open, 0);

  // The same server elsewhere, and on another port, is refused at once.
  TestServer elsewhere(world.io(), At(kOther, 7000), Echo);
  const Seen refused = world.Exchange(At(kOther, 7000), "one");
  EXPECT_EQ(refused.how, "reset");
  EXPECT_LT(refused.took, milliseconds(50));
  EXPECT_EQ(world.sink().last(), "address_not_resolved");
  EXPECT_EQ(AllowLine(*world.sink().decisions.back().suggestion),
            "- { cidr: 93.184.216.99/32, ports: [7000] }");
  EXPECT_EQ(elsewhere.accepted(), 0);
  world.Open(7001);
  EXPECT_EQ(world.Exchange(At("198.51.100.7", 7001), "one").how, "reset");
  EXPECT_EQ(world.sink().last(), "port_not_allowed");
  EXPECT_EQ(world.Exchange(At("127.0.0.1", 7000), "one").how, "reset");
  EXPECT_EQ(world.sink().last(), "private_address");
}

TEST(TcpDoorTest, NamesOfTlsAreEnforcedOnOneAddress) {
  World world(kNetwork, kHosts, NothingAhead());
  TestServer server(world.io(), At(kShared, 443), Echo);
  world.Open(443);
  world.Remember(kShared, "a.example");
  const auto client = world.Connect(At(kShared, 443));
  const std::string hello = ClientHello("a.example");
  RunTask(world.io(), client->Send(hello));
  EXPECT_EQ(RunTask(world.io(), client->Read(hello.size() + 2)).bytes, "<" + hello + ">");
  EXPECT_EQ(world.sink().last(), "allowed");
  EXPECT_EQ(world.sink().decisions.back().host, "a.example");

  const Seen refused = world.Exchange(At(kShared, 443), ClientHello("evil.example"));
  EXPECT_EQ(refused.bytes, Alert(49));
  EXPECT_EQ(refused.how, "end");
  EXPECT_LT(refused.took, milliseconds(50));
  EXPECT_EQ(world.sink().last(), "host_not_allowed");
  EXPECT_EQ(AllowLine(*world.sink().decisions.back().suggestion), "- evil.example:443");

  EXPECT_EQ(world.Exchange(At(kShared, 443), ClientHello("")).bytes, Alert(112));
  EXPECT_EQ(world.sink().last(), "name_missing");
  EXPECT_EQ(server.accepted(), 1);
}

TEST(TcpDoorTest, TlsWithoutANamePassesWhereTheAddressIsAllowed) {
  World world(kNetwork, kHosts);
  TestServer server(world.io(), At("198.51.100.7", 443), Echo);
  world.Open(443);
  const auto client = world.Connect(At("198.51.100.7", 443));
  const std::string hello = ClientHello("");
  RunTask(world.io(), client->Send(hello));
  EXPECT_EQ(RunTask(world.io(), client->Read(hello.size() + 2)).bytes, "<" + hello + ">");
}

TEST(TcpDoorTest, RefusalsNameWhatTheGuestAskedFor) {
  World world(kNetwork, kHosts);
  TestServer server(world.io(), At(kShared, 80), Http);
  world.Open(443);
  world.Open(80);
  world.Open(8443);
  // Not in memory at all.
  EXPECT_EQ(world.Exchange(At(kOther, 443), ClientHello("evil.example")).bytes, Alert(49));
  EXPECT_EQ(world.sink().last(), "host_not_allowed");
  EXPECT_EQ(world.sink().decisions.back().host, "evil.example");
  EXPECT_EQ(world.Exchange(At(kOther, 443), ClientHello("a.example")).bytes, Alert(49));
  EXPECT_EQ(world.sink().last(), "address_not_resolved");
  const Seen http = world.Exchange(At(kOther, 80), Get("evil.example"));
  EXPECT_THAT(http.bytes, StartsWith("HTTP/1.1 403 Forbidden\r\n"));
  EXPECT_THAT(http.bytes, HasSubstr("X-Cleanroom-Reason-Code: host_not_allowed\r\n"));
  EXPECT_THAT(http.bytes,
              HasSubstr("host_not_allowed: evil.example is not allowed on TCP port 80"));
  EXPECT_EQ(http.how, "end");
  EXPECT_LT(http.took, milliseconds(50));
  // In memory, but another port.
  world.Remember(kShared, "a.example");
  EXPECT_EQ(world.Exchange(At(kShared, 8443), ClientHello("a.example")).bytes, Alert(49));
  EXPECT_EQ(world.sink().last(), "port_not_allowed");
  EXPECT_EQ(AllowLine(*world.sink().decisions.back().suggestion), "- a.example:8443");
  // Nothing said: reset all the same, in time.
  const Seen silent = world.Exchange(At(kShared, 8443), "");
  EXPECT_EQ(silent.how, "reset");
  EXPECT_LT(silent.took, milliseconds(50));
  EXPECT_EQ(world.sink().decisions.back().host, "a.example");
}

TEST(TcpDoorTest, AnAllowedNameDoesNotLeadIntoAPrivateNetwork) {
  World world(kNetwork, kHosts);
  TestServer inner(world.io(), At("10.9.9.9", 443), Echo);
  TestServer server(world.io(), At(kShared, 443), Echo);
  world.Open(443);
  world.Remember(kShared, "inner.example");
  world.Remember(kShared, "a.example");
  EXPECT_EQ(world.Exchange(At(kShared, 443), ClientHello("inner.example")).bytes, Alert(49));
  EXPECT_EQ(world.sink().last(), "private_address");
  EXPECT_EQ(inner.accepted(), 0);
  const auto client = world.Connect(At(kShared, 443));
  RunTask(world.io(), client->Send(ClientHello("a.example")));
  EXPECT_THAT(RunTask(world.io(), client->Read(10)).bytes, StartsWith("<\x16"));
}

TEST(TcpDoorTest, EveryRequestOfAConnectionIsChecked) {
  World world(kNetwork, kHosts, NothingAhead());
  TestServer server(world.io(), At(kShared, 80), Http);
  world.Open(80);
  world.Remember(kShared, "a.example");
  const size_t size = Ok("hello").size();
  const auto client = world.Connect(At(kShared, 80));
  for (int i = 0; i < 3; ++i) {
    RunTask(world.io(), client->Send(Get("A.example:80")));
    EXPECT_EQ(RunTask(world.io(), client->Read(size)).bytes, Ok("hello"));
  }
  RunTask(world.io(), client->Send(Get("evil.example")));
  const Seen refused = RunTask(world.io(), client->Read());
  EXPECT_THAT(refused.bytes, StartsWith("HTTP/1.1 403 "));
  EXPECT_EQ(refused.how, "end");
  EXPECT_EQ(world.sink().last(), "host_not_allowed");
  EXPECT_EQ(world.sink().decisions.back().host, "evil.example");

  // Allowed, but not here; and another port.
  const auto second = world.Connect(At(kShared, 80));
  RunTask(world.io(), second->Send(Get("a.example")));
  EXPECT_EQ(RunTask(world.io(), second->Read(size)).bytes, Ok("hello"));
  RunTask(world.io(), second->Send(Get("b.example")));
  EXPECT_THAT(RunTask(world.io(), second->Read()).bytes, HasSubstr("name_mismatch"));
  EXPECT_THAT(world.Exchange(At(kShared, 80), Get("a.example:443")).bytes,
              HasSubstr("name_mismatch"));
  EXPECT_THAT(world.Exchange(At(kShared, 80), "GET / HTTP/1.0\r\n\r\n").bytes,
              HasSubstr("name_missing"));
  EXPECT_THAT(world.Exchange(At(kShared, 80), Get(kShared)).bytes, HasSubstr("HTTP/1.1 403"));
  EXPECT_EQ(server.accepted(), 2);
}

TEST(TcpDoorTest, ARefusalNeverLandsInsideAResponse) {
  World world(kNetwork, kHosts);
  TestServer server(world.io(), At(kShared, 80), Http);
  world.Open(80);
  world.Remember(kShared, "a.example");
  // Sent at once: the answer to the first is still to come when the second is refused.
  const Seen seen = world.Exchange(At(kShared, 80), Get("a.example") + Get("evil.example"));
  EXPECT_EQ(seen.how, "reset");
  EXPECT_THAT(seen.bytes, ::testing::Not(HasSubstr("403")));
  EXPECT_EQ(world.sink().last(), "host_not_allowed");
}

TEST(TcpDoorTest, WhatComesInSinglePieces) {
  World world(kNetwork, kHosts);
  TestServer server(world.io(), At(kShared, 443), Echo);
  TestServer http(world.io(), At(kShared, 80), Echo);
  world.Open(443);
  world.Open(80);
  world.Remember(kShared, "a.example");
  const std::pair<uint16_t, std::string> allowed[] = {{443, ClientHello("a.example")},
                                                      {80, Get("a.example")}};
  for (const auto& [port, bytes] : allowed) {
    const auto client = world.Connect(At(kShared, port));
    for (const char byte : bytes) RunTask(world.io(), client->Send(std::string(1, byte)));
    EXPECT_EQ(RunTask(world.io(), client->Read(bytes.size() + 2)).bytes.substr(1, bytes.size()),
              bytes);
  }
  const std::string refused[] = {ClientHello("evil.example"), Get("evil.example")};
  for (int i = 0; i < 2; ++i) {
    const auto client = world.Connect(At(kShared, i == 0 ? 443 : 80));
    for (const char byte : refused[i]) RunTask(world.io(), client->Send(std::string(1, byte)));
    EXPECT_THAT(RunTask(world.io(), client->Read()).bytes,
                StartsWith(i == 0 ? Alert(49) : "HTTP/1.1 403"));
    EXPECT_EQ(world.sink().last(), "host_not_allowed");
  }
}

TEST(TcpDoorTest, DenyRulesHoldWhereAddressesAreAllowed) {
  World world(
      "    allow:\n"
      "      - { cidr: 198.51.100.0/24, ports: [80, 443] }\n"
      "    deny:\n"
      "      - { host: evil.example }\n",
      kHosts);
  TestServer tls(world.io(), At("198.51.100.7", 443), Echo);
  TestServer http(world.io(), At("198.51.100.7", 80), Http);
  world.Open(443);
  world.Open(80);
  const auto client = world.Connect(At("198.51.100.7", 443));
  RunTask(world.io(), client->Send(ClientHello("good.example")));
  EXPECT_THAT(RunTask(world.io(), client->Read(10)).bytes, StartsWith("<\x16"));
  EXPECT_EQ(world.sink().decisions.back().host, "good.example");
  EXPECT_EQ(world.Exchange(At("198.51.100.7", 443), ClientHello("evil.example")).bytes, Alert(49));
  EXPECT_EQ(world.sink().last(), "denied_by_rule");
  const auto kept = world.Connect(At("198.51.100.7", 80));
  RunTask(world.io(), kept->Send(Get("good.example")));
  EXPECT_EQ(RunTask(world.io(), kept->Read(Ok("hello").size())).bytes, Ok("hello"));
  RunTask(world.io(), kept->Send(Get("evil.example")));
  EXPECT_THAT(RunTask(world.io(), kept->Read()).bytes, HasSubstr("denied_by_rule"));
}

TEST(TcpDoorTest, IPv6IsTheSame) {
  World world(kNetwork, kHosts);
  TestServer server(world.io(), At("2600:1406::34", 80), Http);
  world.Open(80);
  world.Remember("2600:1406::34", "v6.example");
  const auto client = world.Connect(At("2600:1406::34", 80));
  RunTask(world.io(), client->Send(Get("v6.example")));
  EXPECT_EQ(RunTask(world.io(), client->Read(Ok("hello").size())).bytes, Ok("hello"));
  EXPECT_THAT(world.Exchange(At("2600:1406::35", 80), Get("evil.example")).bytes,
              HasSubstr("host_not_allowed"));
}

TEST(TcpDoorTest, ThePlacesInside) {
  World world(kNetwork, kHosts);
  world.Open(GatewayDoor::kPort);
  world.Open(53);
  world.Open(80);
  const Seen seen = world.Exchange(At("10.0.2.1", GatewayDoor::kPort),
                                   Get(std::string(GatewayDoor::kHost), "/git/x"));
  EXPECT_THAT(seen.bytes, StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_THAT(seen.bytes, HasSubstr("X-Cleanroom-Reason-Code: no_such_route"));
  EXPECT_EQ(world.sink().decisions.back().service, Service::kGateway);
  EXPECT_EQ(world.Exchange(At("10.0.2.1", 80), Get("x")).how, "reset");
  EXPECT_EQ(world.sink().last(), "no_such_route");
  (void)world.Exchange(At("8.8.8.8", 53), "");
  (void)world.Exchange(At("10.0.2.1", 53), "");
  EXPECT_EQ(world.dns_connections(), 2);
}

TEST(TcpDoorTest, StagesCutWhatTheyDoNotAllow) {
  World world(
      "    dependencies:\n"
      "      allow:\n"
      "        - a.example:80\n"
      "        - b.example:80\n"
      "    execution:\n"
      "      allow:\n"
      "        - b.example:80\n",
      kHosts);
  world.rules().SetStage(policy::Stage::kDependencies);
  TestServer server(world.io(), At(kShared, 80), Http);
  world.Open(80);
  world.Remember(kShared, "a.example");
  world.Remember(kShared, "b.example");
  const auto a = world.Connect(At(kShared, 80));
  const auto b = world.Connect(At(kShared, 80));
  RunTask(world.io(), a->Send(Get("a.example")));
  RunTask(world.io(), b->Send(Get("b.example")));
  const size_t size = Ok("hello").size();
  EXPECT_EQ(RunTask(world.io(), a->Read(size)).bytes, Ok("hello"));
  EXPECT_EQ(RunTask(world.io(), b->Read(size)).bytes, Ok("hello"));
  world.rules().SetStage(policy::Stage::kExecution);
  world.door().StageChanged();
  EXPECT_EQ(RunTask(world.io(), a->Read()).how, "reset");
  EXPECT_EQ(world.sink().last(), "host_not_allowed");
  EXPECT_EQ(world.sink().decisions.back().host, "a.example");
  RunTask(world.io(), b->Send(Get("b.example")));
  EXPECT_EQ(RunTask(world.io(), b->Read(size)).bytes, Ok("hello"));
}

}  // namespace
}  // namespace cleanroom::doors
