#include "doors/dns/dns_exchange.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <utility>
#include <vector>

namespace cleanroom::doors {
namespace {

using asio::ip::tcp;
using asio::ip::udp;
using std::chrono::steady_clock;
using wire::DnsAnswer;

// More than was announced (kUdpPayload): a longer datagram is cut and asked for over TCP.
constexpr size_t kMaxDatagram = 4096;
// Datagrams that are not the answer, from the server's own address: then the server is broken.
constexpr int kMaxStrays = 64;

asio::ip::address ToAsio(const net::IpAddress& address) {
  const auto& bytes = address.bytes();
  if (address.family() == net::IpAddress::Family::kV4) {
    return asio::ip::address_v4({bytes[0], bytes[1], bytes[2], bytes[3]});
  }
  return asio::ip::address_v6(bytes);
}

void FillRandom(std::span<uint8_t> bytes) {
  // At most 256 bytes come whole, once the kernel's generator is seeded (getrandom(2)).
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    std::perror("cleanroom: getrandom");
    std::abort();
  }
}

uint16_t RandomId() {
  std::array<uint8_t, 2> bytes{};
  FillRandom(bytes);
  return static_cast<uint16_t>(bytes[0] << 8U | bytes[1]);
}

std::string RandomCase(std::string name) {
  std::array<uint8_t, 32> coins{};
  FillRandom(coins);
  for (size_t i = 0; i < name.size(); ++i) {
    const bool letter = name[i] >= 'a' && name[i] <= 'z';
    const bool raise = (coins[i / 8 % coins.size()] >> (i % 8) & 1U) != 0;
    if (letter && raise) name[i] = static_cast<char>(name[i] - 'a' + 'A');
  }
  return name;
}

std::unexpected<Error> Unreachable(const boost::system::error_code& error) {
  const bool canceled = error == asio::error::operation_aborted;
  return Err(canceled ? ErrorCode::kCanceled : ErrorCode::kUnavailable, error.message());
}

// data_corrupt: an answer with the right id that is none to this question.
Awaitable<Result<DnsAnswer>> AskUdp(net::DnsServer server, std::string name, uint16_t type) {
  const auto executor = co_await asio::this_coro::executor;
  const udp::endpoint endpoint(ToAsio(server.address), server.port);
  udp::socket socket(executor);
  boost::system::error_code failed;
  socket.open(endpoint.protocol(), failed);
  if (!failed) socket.connect(endpoint, failed);
  if (failed) co_return Unreachable(failed);
  const std::string spelled = RandomCase(std::move(name));
  const uint16_t id = RandomId();
  const std::vector<uint8_t> query = wire::WriteQuery(id, spelled, type);
  auto [not_sent, sent] = co_await socket.async_send(asio::buffer(query), kAwait);
  if (not_sent) co_return Unreachable(not_sent);
  std::array<uint8_t, kMaxDatagram> buffer{};
  for (int strays = 0; strays < kMaxStrays; ++strays) {
    auto [error, size] = co_await socket.async_receive(asio::buffer(buffer), kAwait);
    if (error) co_return Unreachable(error);
    const bool ours = size >= 2 && (buffer[0] << 8U | buffer[1]) == id;
    if (!ours) continue;
    co_return wire::ParseAnswer(wire::Bytes(buffer.data(), size), id, spelled, type);
  }
  co_return Err(ErrorCode::kUnavailable, "it answers other questions than ours");
}

Awaitable<Result<DnsAnswer>> AskTcp(net::DnsServer server, std::string name, uint16_t type) {
  const auto executor = co_await asio::this_coro::executor;
  tcp::socket socket(executor);
  const tcp::endpoint endpoint(ToAsio(server.address), server.port);
  auto [refused] = co_await socket.async_connect(endpoint, kAwait);
  if (refused) co_return Unreachable(refused);
  const uint16_t id = RandomId();
  const std::vector<uint8_t> query = wire::WriteQuery(id, name, type);
  std::vector<uint8_t> framed;
  framed.push_back(static_cast<uint8_t>(query.size() >> 8U));
  framed.push_back(static_cast<uint8_t>(query.size() & 0xFFU));
  framed.insert(framed.end(), query.begin(), query.end());
  auto [not_sent, sent] = co_await asio::async_write(socket, asio::buffer(framed), kAwait);
  if (not_sent) co_return Unreachable(not_sent);
  std::array<uint8_t, 2> prefix{};
  auto [no_prefix, prefix_size] = co_await asio::async_read(socket, asio::buffer(prefix), kAwait);
  if (no_prefix) co_return Unreachable(no_prefix);
  std::vector<uint8_t> message(static_cast<size_t>(prefix[0] << 8U | prefix[1]));
  auto [cut, size] = co_await asio::async_read(socket, asio::buffer(message), kAwait);
  if (cut) co_return Unreachable(cut);
  co_return wire::ParseAnswer(message, id, name, type);
}

}  // namespace

Awaitable<Result<DnsAnswer>> AskServer(net::DnsServer server, std::string name, uint16_t type,
                                       std::chrono::milliseconds limit) {
  const auto udp_deadline = steady_clock::now() + limit;
  auto by_udp = AskUdp(server, name, type);
  auto answer = co_await WithDeadline(std::move(by_udp), udp_deadline, "it did not answer");
  const bool again = answer ? answer->truncated : answer.error().code() == ErrorCode::kDataCorrupt;
  if (again) {
    const auto tcp_deadline = steady_clock::now() + limit;
    auto by_tcp = AskTcp(server, name, type);
    answer = co_await WithDeadline(std::move(by_tcp), tcp_deadline, "it did not answer over TCP");
  }
  co_return answer;
}

}  // namespace cleanroom::doors
