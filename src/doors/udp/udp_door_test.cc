#include "doors/udp/udp_door.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include "doors/testing/world.h"

namespace cleanroom::doors {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr uint16_t kPort = 7777;
constexpr std::string_view kNetwork =
    "    allow:\n"
    "      - { cidr: 198.51.100.0/24, ports: [7777], protocol: udp }\n"
    "      - { cidr: 2600:1406::/64, ports: [7777], protocol: udp }\n"
    "      - { host: a.example, ports: [7777], protocol: udp }\n"
    "      - { host: tcp.example, ports: [7777] }\n"
    "    deny:\n"
    "      - { cidr: 198.51.100.66/32 }\n";

Awaitable<bool> CloseUdp(UdpDoor& door) {
  co_await door.Close();
  co_return true;
}

os::UniqueFd UdpAt(const net::Endpoint& endpoint) {
  const net::SocketAddress address = net::ToSocketAddress(endpoint);
  os::UniqueFd fd(socket(address.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (address.family() == AF_INET6) {
    setsockopt(fd.get(), SOL_IPV6, IPV6_V6ONLY, &on, sizeof on);
    setsockopt(fd.get(), SOL_IPV6, IPV6_FREEBIND, &on, sizeof on);
    setsockopt(fd.get(), SOL_IPV6, IPV6_RECVORIGDSTADDR, &on, sizeof on);
  }
  setsockopt(fd.get(), SOL_IP, IP_RECVORIGDSTADDR, &on, sizeof on);
  if (bind(fd.get(), address.get(), address.size) != 0) std::perror("bind");
  return fd;
}

class UdpDoorTest : public ::testing::Test {
 protected:
  UdpDoorTest() : rules_(RulesOf(kNetwork)) {}
  ~UdpDoorTest() override {
    if (door_) RunTask(io_, CloseUdp(*door_));
  }
  void Start(UdpDoorConfig config = {}) {
    config.gateway = {Ip("10.0.2.1")};
    door_ = std::make_unique<UdpDoor>(io_.get_executor(), config, rules_, memory_, sink_);
    door_->Serve(spaces_.InGuest([] {
      UdpDoor::Sockets sockets;
      sockets.udp4 = UdpAt(At("0.0.0.0", kPort));
      sockets.udp6 = UdpAt(At("::", kPort));
      sockets.raw4.reset(socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW));
      sockets.raw6.reset(socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW));
      return sockets;
    }));
  }
  // The guest's socket, connected: it hears only what comes from that address.
  os::UniqueFd Guest(const net::Endpoint& to) {
    return spaces_.InGuest([&] {
      const bool v4 = to.address.family() == net::IpAddress::Family::kV4;
      os::UniqueFd fd = UdpAt(v4 ? At("10.0.2.2", 0) : At("fd00:c1ea:0:2::2", 0));
      const net::SocketAddress address = net::ToSocketAddress(to);
      if (connect(fd.get(), address.get(), address.size) != 0) std::perror("connect");
      return fd;
    });
  }
  // Sends and lets everyone work until an answer, or an error, comes back.
  std::string Ask(const os::UniqueFd& guest, const std::string& text) {
    if (send(guest.get(), text.data(), text.size(), 0) < 0) return strerror(errno);
    return Hear(guest);
  }
  std::string Hear(const os::UniqueFd& guest, milliseconds limit = std::chrono::seconds(5)) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    std::string buffer(65536, '\0');
    for (;;) {
      const ssize_t n = recv(guest.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n >= 0) return buffer.substr(0, static_cast<size_t>(n));
      if (errno != EAGAIN) return strerror(errno);
      if (std::chrono::steady_clock::now() > deadline) return "nothing";
      if (io_.stopped()) io_.restart();
      io_.run_one_for(milliseconds(5));
    }
  }
  // An echo server of the internet that puts the text between brackets.
  void Serve(const net::Endpoint& at) {
    servers_.emplace_back(std::make_unique<asio::posix::stream_descriptor>(io_));
    servers_.back()->assign(UdpAt(at).release());
    Wait(servers_.back().get());
  }
  void Wait(asio::posix::stream_descriptor* server) {
    server->async_wait(asio::posix::stream_descriptor::wait_read,
                       [this, server](const boost::system::error_code& error) {
                         if (error) return;
                         Echo(server->native_handle());
                         Wait(server);
                       });
  }
  void Echo(int fd) {
    std::string buffer(65536, '\0');
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const ssize_t n =
        recvfrom(fd, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (n < 0) return;
    const std::string out = "<" + buffer.substr(0, static_cast<size_t>(n)) + ">";
    (void)sendto(fd, out.data(), out.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
  }

  Namespaces spaces_;
  asio::io_context io_;
  Rules rules_;
  NameMemory memory_;
  SinkForTest sink_;
  std::vector<std::unique_ptr<asio::posix::stream_descriptor>> servers_;
  std::unique_ptr<UdpDoor> door_;
};

TEST_F(UdpDoorTest, CarriesWhatTheRulesAllowAndRefusesTheRestAtOnce) {
  Start();
  Serve(At("198.51.100.7", kPort));
  Serve(At("2600:1406::7", kPort));
  Serve(At("198.51.100.66", kPort));
  Serve(At("93.184.216.34", kPort));
  const auto guest = Guest(At("198.51.100.7", kPort));
  EXPECT_EQ(Ask(guest, "hey"), "<hey>");
  EXPECT_EQ(Ask(guest, "again"), "<again>");
  EXPECT_EQ(sink_.decisions.size(), 1U);
  EXPECT_EQ(sink_.open, 1);
  EXPECT_EQ(Ask(Guest(At("2600:1406::7", kPort)), "six"), "<six>");

  EXPECT_EQ(Ask(Guest(At("93.184.216.34", kPort)), "hey"), "Connection refused");
  EXPECT_EQ(sink_.last(), "address_not_resolved");
  EXPECT_EQ(AllowLine(*sink_.decisions.back().suggestion),
            "- { cidr: 93.184.216.34/32, ports: [7777], protocol: udp }");
  EXPECT_EQ(Ask(Guest(At("198.51.100.66", kPort)), "hey"), "Connection refused");
  EXPECT_EQ(sink_.last(), "denied_by_rule");
  EXPECT_EQ(Ask(Guest(At("2606::9", kPort)), "hey"), "Connection refused");
  EXPECT_EQ(Ask(Guest(At("10.0.2.1", kPort)), "hey"), "Connection refused");
  EXPECT_EQ(sink_.last(), "unsupported");
  EXPECT_EQ(Ask(Guest(At("169.254.169.254", kPort)), "hey"), "Connection refused");
  EXPECT_EQ(sink_.last(), "private_address");
  EXPECT_EQ(door_->flows(), 2U);
}

TEST_F(UdpDoorTest, ANameAllowsItsFreshAddress) {
  Start();
  Serve(At("93.184.216.34", kPort));
  const auto guest = Guest(At("93.184.216.34", kPort));
  const auto now = NameMemory::Clock::now();
  memory_.Remember(Ip("93.184.216.34"), "tcp.example", std::chrono::seconds(300), now);
  EXPECT_EQ(Ask(guest, "hey"), "Connection refused");
  EXPECT_EQ(sink_.last(), "port_not_allowed");
  memory_.Remember(Ip("93.184.216.34"), "a.example", std::chrono::seconds(1),
                   now - std::chrono::hours(1));
  EXPECT_EQ(Ask(guest, "hey"), "Connection refused");
  EXPECT_EQ(sink_.last(), "address_not_resolved");
  memory_.Remember(Ip("93.184.216.34"), "a.example", std::chrono::seconds(300), now);
  EXPECT_EQ(Ask(guest, "hey"), "<hey>");
  EXPECT_EQ(sink_.decisions.back().host, "a.example");
}

TEST_F(UdpDoorTest, LargeDatagramsPass) {
  Start();
  Serve(At("198.51.100.7", kPort));
  Serve(At("2600:1406::7", kPort));
  for (const std::string address : {"198.51.100.7", "2600:1406::7"}) {
    const auto guest = Guest(At(address, kPort));
    for (const size_t size : {1472U, 1473U, 9000U, 40000U}) {
      const std::string text(size, 'x');
      EXPECT_EQ(Ask(guest, text), "<" + text + ">") << address << " " << size;
    }
  }
}

TEST_F(UdpDoorTest, AnUnreachableDestinationIsSaidToBe) {
  Start();
  EXPECT_EQ(Ask(Guest(At("198.51.100.9", kPort)), "hey"), "Connection refused");
  EXPECT_EQ(sink_.last(), "upstream_failed");
  EXPECT_EQ(door_->flows(), 0U);
  EXPECT_EQ(sink_.open, 0);
}

TEST_F(UdpDoorTest, FlowsAreBoundedAndEndWhenIdle) {
  Start({.gateway = {},
         .max_flows = 4,
         .idle = milliseconds(300),
         .unanswered = milliseconds(100),
         .sweep = milliseconds(20)});
  Serve(At("198.51.100.7", kPort));
  std::vector<os::UniqueFd> guests;
  for (int i = 0; i < 6; ++i) {
    guests.push_back(Guest(At("198.51.100.7", kPort)));
    EXPECT_EQ(Ask(guests.back(), "hey"), "<hey>");
    EXPECT_LE(door_->flows(), 4U);
  }
  EXPECT_EQ(sink_.open, 4);
  // One whose flow was ended gets a new one.
  EXPECT_EQ(Ask(guests.front(), "hey"), "<hey>");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (door_->flows() > 0 && std::chrono::steady_clock::now() < deadline) {
    io_.run_one_for(milliseconds(20));
  }
  EXPECT_EQ(door_->flows(), 0U);
  EXPECT_EQ(sink_.open, 0);
  EXPECT_EQ(sink_.sent, 21U);
  EXPECT_EQ(sink_.received, 35U);
}

TEST(UdpDoorStageTest, StagesCutFlows) {
  // As the TCP door: what the new stage does not allow ends.
  Rules rules = RulesOf(
      "    dependencies:\n"
      "      allow:\n"
      "        - { cidr: 198.51.100.0/24, ports: [7777], protocol: udp }\n");
  rules.SetStage(policy::Stage::kDependencies);
  Namespaces spaces;
  asio::io_context io;
  NameMemory memory;
  SinkForTest sink;
  UdpDoor door(io.get_executor(), {}, rules, memory, sink);
  door.Serve(spaces.InGuest([] {
    UdpDoor::Sockets sockets;
    sockets.udp4 = UdpAt(At("0.0.0.0", kPort));
    sockets.raw4.reset(socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW));
    return sockets;
  }));
  const os::UniqueFd server = UdpAt(At("198.51.100.7", kPort));
  const os::UniqueFd guest = spaces.InGuest([&] {
    os::UniqueFd fd = UdpAt(At("10.0.2.2", 0));
    const net::SocketAddress address = net::ToSocketAddress(At("198.51.100.7", kPort));
    EXPECT_EQ(connect(fd.get(), address.get(), address.size), 0);
    return fd;
  });
  ASSERT_EQ(send(guest.get(), "x", 1, 0), 1);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  char byte = 0;
  while (recv(server.get(), &byte, 1, 0) != 1 && std::chrono::steady_clock::now() < deadline) {
    io.run_one_for(milliseconds(5));
  }
  EXPECT_EQ(byte, 'x');
  rules.SetStage(policy::Stage::kExecution);
  door.StageChanged();
  EXPECT_EQ(door.flows(), 0U);
  EXPECT_EQ(sink.open, 0);
  EXPECT_FALSE(IsAllowed(sink.decisions.back().code));
  EXPECT_EQ(recv(guest.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  RunTask(io, CloseUdp(door));
}

}  // namespace
}  // namespace cleanroom::doors
