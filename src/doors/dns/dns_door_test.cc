#include "doors/dns/dns_door.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "doors/testing/dns.h"
#include "os/unique_fd.h"

namespace cleanroom::doors {
namespace {

using asio::ip::tcp;
using asio::ip::udp;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using wire::Rcode;
namespace type = wire::dns_type;

constexpr std::string_view kNetwork =
    "    allow:\n"
    "      - www.example.com:443\n"
    "      - alias.example.com:443\n"
    "      - private.example.com:443\n"
    "      - missing.example.com:443\n"
    "      - big.example.com:443\n"
    "      - \"*.wild.example.com:443\"\n";

// A socket as os::DoorSockets has it, but on a port of its own, and of the host.
os::UniqueFd DoorSocket(int family) {
  os::UniqueFd fd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  sockaddr_in6 any{};
  any.sin6_family = static_cast<sa_family_t>(family);  // sockaddr_in begins the same way
  if (family == AF_INET) {
    ::setsockopt(fd.get(), SOL_IP, IP_RECVORIGDSTADDR, &on, sizeof(on));
  } else {
    ::setsockopt(fd.get(), SOL_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    ::setsockopt(fd.get(), SOL_IPV6, IPV6_RECVORIGDSTADDR, &on, sizeof(on));
  }
  const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), size) != 0) fd.reset();
  return fd;
}

uint16_t PortOf(int fd) {
  sockaddr_in6 name{};
  socklen_t size = sizeof(name);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size);
  return ntohs(name.sin6_port);
}

// One question from a connected socket: what comes from another address is not heard.
Awaitable<Result<Packet>> AskUdp(udp::endpoint door, Packet query) {
  const auto executor = co_await asio::this_coro::executor;
  udp::socket socket(executor, door.protocol());
  socket.connect(door);
  auto [not_sent, sent] = co_await socket.async_send(asio::buffer(query), kAwait);
  if (not_sent) co_return Err(ErrorCode::kUnavailable, not_sent.message());
  Packet reply(4096);
  auto [error, size] = co_await socket.async_receive(asio::buffer(reply), kAwait);
  if (error) co_return Err(ErrorCode::kUnavailable, error.message());
  reply.resize(size);
  co_return reply;
}

Packet Framed(const Packet& message) {
  Packet framed{static_cast<uint8_t>(message.size() >> 8U), static_cast<uint8_t>(message.size())};
  framed.insert(framed.end(), message.begin(), message.end());
  return framed;
}

Awaitable<bool> Send(tcp::socket& socket, Packet bytes) {
  auto [error, size] = co_await asio::async_write(socket, asio::buffer(bytes), kAwait);
  const bool whole = size == bytes.size();
  co_return whole && !error;
}

// A message, or nothing when the connection ended.
Awaitable<Packet> Receive(tcp::socket& socket) {
  std::array<uint8_t, 2> prefix{};
  auto [ended, n] = co_await asio::async_read(socket, asio::buffer(prefix), kAwait);
  if (ended) co_return Packet();
  Packet message(static_cast<size_t>(prefix[0] << 8U | prefix[1]));
  auto [cut, m] = co_await asio::async_read(socket, asio::buffer(message), kAwait);
  if (cut) co_return Packet();
  co_return message;
}

Awaitable<bool> Join(TaskScope& scope) {
  co_await scope.Join();
  co_return true;
}

class DnsDoorTest : public ::testing::Test {
 protected:
  void Open(std::vector<net::DnsServer> servers, milliseconds limit = seconds(20)) {
    ResolverConfig config;
    config.servers = std::move(servers);
    config.attempt_limit = config.total_limit = limit;
    resolver_.emplace(io_.get_executor(), config);
    door_.emplace(io_.get_executor(), DnsDoorConfig{.gateway = {Ip("10.0.2.1")}}, rules_, memory_,
                  *resolver_, sink_);
    v4_ = DoorSocket(AF_INET);
    v6_ = DoorSocket(AF_INET6);
    scope_.Spawn(door_->ServeUdp(v4_.get()));
    scope_.Spawn(door_->ServeUdp(v6_.get()));
  }
  void TearDown() override {
    scope_.Cancel();
    RunTask(io_, Join(scope_));
    EXPECT_EQ(sink_.open, 0);
  }
  Packet Ask(const Packet& query, const std::string& address = "127.0.0.1") {
    const auto to = asio::ip::make_address(address);
    const int fd = to.is_v4() ? v4_.get() : v6_.get();
    auto asking = AskUdp({to, PortOf(fd)}, query);
    const auto deadline = std::chrono::steady_clock::now() + seconds(30);
    auto reply = RunTask(io_, WithDeadline(std::move(asking), deadline, "an answer"));
    return reply ? *reply : Packet();
  }
  // "NOERROR 93.184.216.34", "REFUSED".
  std::string Answered(std::string_view name, uint16_t of = type::kA,
                       const std::string& address = "127.0.0.1") {
    return Text(Ask(wire::WriteQuery(9, name, of), address), name, of);
  }
  static std::string Text(const Packet& reply, std::string_view name, uint16_t of = type::kA,
                          uint16_t id = 9) {
    const auto answer = wire::ParseAnswer(reply, id, name, of);
    if (!answer) return answer.error().ToString();
    std::string text = std::to_string(static_cast<int>(answer->rcode));
    if (answer->truncated) text += " cut";
    for (const auto& record : answer->answers) {
      text += " " + (record.address ? record.address->ToString() : record.target);
    }
    return text;
  }
  // A connection to the door; with buffers of that size for its answers.
  tcp::socket Connect(std::optional<int> buffer = std::nullopt) {
    tcp::acceptor acceptor(io_, {asio::ip::address_v4::loopback(), 0});
    tcp::socket client(io_, tcp::v4());
    if (buffer) client.set_option(asio::socket_base::receive_buffer_size(*buffer));
    client.connect(acceptor.local_endpoint());
    tcp::socket accepted = acceptor.accept();
    if (buffer) accepted.set_option(asio::socket_base::send_buffer_size(*buffer));
    scope_.Spawn(door_->ServeTcp(accepted.release()));
    return client;
  }

  asio::io_context io_;
  Rules rules_ = RulesOf(kNetwork);
  NameMemory memory_;
  SinkForTest sink_;
  TaskScope scope_{io_.get_executor()};
  os::UniqueFd v4_;
  os::UniqueFd v6_;
  std::optional<Resolver> resolver_;
  std::optional<DnsDoor> door_;
};

TEST_F(DnsDoorTest, ARealServerBehindIt) {
  std::string lines = "cname=alias.example.com,www.example.com\nlocal=/example.com/\n";
  lines += "address=/wild.example.com/93.184.216.40\n";
  for (int i = 0; i < 30; ++i) {
    lines += "txt-record=big.example.com," + std::string(200, 'a') + std::to_string(i) + "\n";
  }
  const Dnsmasq server(lines,
                       "93.184.216.34 www.example.com\n10.0.0.5 private.example.com\n"
                       "93.184.216.36 other.example.com\n");
  Open({server.address()});
  EXPECT_EQ(Answered("www.example.com"), "0 93.184.216.34");
  EXPECT_EQ(sink_.last(), "allowed");
  EXPECT_EQ(Answered("alias.example.com"), "0 www.example.com 93.184.216.34");
  EXPECT_EQ(Answered("a.wild.example.com"), "0 93.184.216.40");
  EXPECT_EQ(Answered("missing.example.com"), "3");
  EXPECT_EQ(Answered("www.example.com", type::kAaaa), "0");
  EXPECT_EQ(Answered("other.example.com"), "5");
  EXPECT_EQ(sink_.last(), "host_not_allowed");
  EXPECT_EQ(Answered("private.example.com"), "5");
  EXPECT_EQ(sink_.last(), "private_address");
  EXPECT_EQ(Answered("gateway.cleanroom.internal"), "0 10.0.2.1");
  EXPECT_EQ(Answered("big.example.com", type::kTxt), "0 cut");
  const auto names = memory_.Lookup(Ip("93.184.216.34"), NameMemory::Clock::now());
  ASSERT_EQ(names.size(), 2U);
  EXPECT_EQ(names[0].name, "alias.example.com");

  tcp::socket client = Connect();
  RunTask(io_, Send(client, Framed(wire::WriteQuery(9, "big.example.com", type::kTxt))));
  const Packet whole = RunTask(io_, Receive(client));
  const auto big = wire::ParseAnswer(whole, 9, "big.example.com", type::kTxt);
  ASSERT_TRUE(big.has_value());
  EXPECT_EQ(big->answers.size(), 30U);
}

std::vector<Packet> Honest(const Packet& query) {
  return {Answered(query, {AddressOf(wire::ParseQuery(query)->name, "93.184.216.34")})};
}
std::vector<Packet> Silent(const Packet&) { return {}; }

TEST_F(DnsDoorTest, AnswersComeFromTheAddressThatWasAsked) {
  FakeDnsServer server(io_, Honest);
  Open({server.address()});
  EXPECT_EQ(Answered("www.example.com", type::kA, "127.0.0.77"), "0 93.184.216.34");
  EXPECT_EQ(Answered("other.example.com", type::kA, "127.3.2.1"), "5");
  ASSERT_TRUE(v6_.valid());
  EXPECT_EQ(Answered("www.example.com", type::kA, "::1"), "0 93.184.216.34");
}

TEST_F(DnsDoorTest, ASilentResolverEndsInServfail) {
  FakeDnsServer server(io_, Silent);
  Open({server.address()}, milliseconds(30));
  const Packet reply = Ask(wire::WriteQuery(9, "www.example.com", type::kA));
  EXPECT_EQ(Text(reply, "www.example.com"), "2");
  EXPECT_THAT(std::string(reply.begin(), reply.end()),
              HasSubstr("the host's DNS servers gave no answer"));
  EXPECT_EQ(sink_.last(), "resolver_failed");
}

TEST_F(DnsDoorTest, BadMessagesAreAnsweredOrPassedOver) {
  FakeDnsServer server(io_, Honest);
  Open({server.address()});
  Packet two = wire::WriteQuery(9, "www.example.com", type::kA);
  two[5] = 2;
  const Packet reply = Ask(two);
  ASSERT_GE(reply.size(), 12U);
  EXPECT_EQ(reply[3] & 15, 1);
  EXPECT_EQ(sink_.last(), "malformed");
  // What is no query at all gets nothing, and what follows is served.
  udp::socket socket(io_, udp::v4());
  const udp::endpoint door(asio::ip::address_v4::loopback(), PortOf(v4_.get()));
  socket.send_to(asio::buffer(Packet{1, 2, 3}), door);
  socket.send_to(asio::buffer(Packet()), door);
  socket.send_to(asio::buffer(Packet(5000, 'x')), door);
  EXPECT_EQ(Answered("www.example.com"), "0 93.184.216.34");
  EXPECT_TRUE(server.seen.size() == 1);
}

TEST_F(DnsDoorTest, OnlySoManyQuestionsWait) {
  FakeDnsServer server(io_, Silent);
  Open({server.address()});
  udp::socket socket(io_, udp::v4());
  const udp::endpoint door(asio::ip::address_v4::loopback(), PortOf(v4_.get()));
  for (size_t i = 0; i < dns_limit::kInFlight; ++i) {
    socket.send_to(
        asio::buffer(wire::WriteQuery(static_cast<uint16_t>(i), "www.example.com", type::kA)),
        door);
  }
  const Packet reply = Ask(wire::WriteQuery(9, "alias.example.com", type::kA));
  EXPECT_EQ(Text(reply, "alias.example.com"), "5");
  EXPECT_EQ(sink_.last(), "limit_exceeded");
  EXPECT_THAT(std::string(reply.begin(), reply.end()), HasSubstr("128 DNS questions"));
  // What needs no server is served meanwhile.
  EXPECT_EQ(Answered("gateway.cleanroom.internal"), "0 10.0.2.1");
}

TEST_F(DnsDoorTest, QueriesOnAConnectionAreAnsweredAsTheyAreReady) {
  std::vector<Packet> held;
  FakeDnsServer server(io_, [&](const Packet& query) {
    const bool slow = wire::ParseQuery(query)->name.size() == std::string("www.example.com").size();
    if (!slow) return Honest(query);
    held.push_back(query);
    return Silent(query);
  });
  Open({server.address()}, seconds(2));
  tcp::socket client = Connect();
  Packet both = Framed(wire::WriteQuery(1, "www.example.com", type::kA));
  const Packet second = Framed(wire::WriteQuery(2, "alias.example.com", type::kA));
  const Packet third = Framed(wire::WriteQuery(3, "other.example.com", type::kA));
  both.insert(both.end(), second.begin(), second.end());
  both.insert(both.end(), third.begin(), third.end());
  RunTask(io_, Send(client, both));
  std::map<int, Packet> replies;  // by the second byte of their id
  for (int i = 0; i < 2; ++i) {
    Packet reply = RunTask(io_, Receive(client));
    ASSERT_GE(reply.size(), 12U);
    replies[reply[1]] = std::move(reply);
  }
  EXPECT_EQ(Text(replies[2], "alias.example.com", type::kA, 2), "0 93.184.216.34");
  EXPECT_EQ(Text(replies[3], "other.example.com", type::kA, 3), "5");
  EXPECT_EQ(held.size(), 1U);
  // A client that has sent all it wants still gets the rest.
  client.shutdown(tcp::socket::shutdown_send);
  EXPECT_EQ(Text(RunTask(io_, Receive(client)), "www.example.com", type::kA, 1), "2");
  EXPECT_TRUE(RunTask(io_, Receive(client)).empty());
  EXPECT_GT(sink_.sent, 0U);
  EXPECT_GT(sink_.received, 0U);
}

TEST_F(DnsDoorTest, AQueryMayComeByteByByte) {
  FakeDnsServer server(io_, Honest);
  Open({server.address()});
  tcp::socket client = Connect();
  const Packet query = Framed(wire::WriteQuery(9, "www.example.com", type::kA));
  for (const uint8_t byte : query) {
    EXPECT_TRUE(RunTask(io_, Send(client, {byte})));
    io_.poll();
  }
  EXPECT_EQ(Text(RunTask(io_, Receive(client)), "www.example.com"), "0 93.184.216.34");
}

TEST_F(DnsDoorTest, ConnectionsThatSpeakNoDnsEnd) {
  FakeDnsServer server(io_, Honest);
  Open({server.address()});
  for (const Packet& bytes : {Packet{0, 0}, Packet{0, 3, 'a', 'b', 'c'}, Packet{0xFF, 0xFF, 1},
                              Packet{'G', 'E', 'T', ' ', '/'}}) {
    tcp::socket client = Connect();
    EXPECT_TRUE(RunTask(io_, Send(client, bytes)));
    EXPECT_TRUE(RunTask(io_, Receive(client)).empty());
  }
}

TEST_F(DnsDoorTest, AConnectionTooManyIsReset) {
  FakeDnsServer server(io_, Honest);
  Open({server.address()});
  std::vector<tcp::socket> clients;
  clients.reserve(dns_limit::kTcpConnections);
  for (size_t i = 0; i < dns_limit::kTcpConnections; ++i) clients.push_back(Connect());
  tcp::socket late = Connect();
  EXPECT_TRUE(RunTask(io_, Receive(late)).empty());
  EXPECT_EQ(sink_.last(), "limit_exceeded");
  EXPECT_EQ(sink_.open, static_cast<int>(dns_limit::kTcpConnections));
  RunTask(io_, Send(clients[3], Framed(wire::WriteQuery(9, "www.example.com", type::kA))));
  EXPECT_EQ(Text(RunTask(io_, Receive(clients[3])), "www.example.com"), "0 93.184.216.34");
  // One that ends makes room.
  clients[3].close();
  while (sink_.open == static_cast<int>(dns_limit::kTcpConnections)) io_.run_one();
  tcp::socket next = Connect();
  RunTask(io_, Send(next, Framed(wire::WriteQuery(9, "www.example.com", type::kA))));
  EXPECT_EQ(Text(RunTask(io_, Receive(next)), "www.example.com"), "0 93.184.216.34");
}

TEST_F(DnsDoorTest, AClientThatNeverReadsIsNotRememberedWithoutEnd) {
  std::string lines = "local=/example.com/\n";
  for (int i = 0; i < 30; ++i) {
    lines += "txt-record=big.example.com," + std::string(200, 'a') + std::to_string(i) + "\n";
  }
  const Dnsmasq server(lines, "");
  Open({server.address()});
  EXPECT_EQ(Answered("big.example.com", type::kTxt), "0 cut");
  tcp::socket client = Connect(8192);
  const Packet query = Framed(wire::WriteQuery(9, "big.example.com", type::kTxt));
  // Within the limit a second, and small enough to lie in the kernel's buffers.
  const size_t asked = 300;
  for (size_t i = 0; i < asked; ++i) {
    ASSERT_EQ(client.write_some(asio::buffer(query)), query.size());
    io_.poll();
  }
  for (int i = 0; i < 1000; ++i) io_.poll();
  // Those that the buffers took, and those that wait.
  EXPECT_LT(sink_.decisions.size(), dns_limit::kTcpPipelined + 30);
  for (size_t i = 0; i < asked; ++i) {
    EXPECT_FALSE(RunTask(io_, Receive(client)).empty());
  }
}

}  // namespace
}  // namespace cleanroom::doors
