// For tests: DNS servers to ask, a real one (dnsmasq) and one that lies as told, and clients.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/async.h"
#include "doors/dns/dns_message.h"
#include "doors/dns/resolver.h"
#include "doors/rules/decision.h"
#include "doors/rules/rules.h"
#include "os/process.h"
#include "policy/load.h"

namespace cleanroom::doors {

using Packet = std::vector<uint8_t>;

inline net::IpAddress Ip(std::string_view text) { return *net::IpAddress::Parse(text); }

// Rules from the lines of a `network:` block.
inline Rules RulesOf(std::string_view network) {
  const std::string yaml =
      "version: 1\nsandbox:\n  image: { ref: \"example.com/a@sha256:" + std::string(64, 'a') +
      "\" }\n  network:\n" + std::string(network);
  auto parsed = policy::Parse(yaml, "cleanroom.yaml");
  if (!parsed) std::abort();
  auto compiled = policy::CompiledPolicy::Compile(*std::move(parsed));
  if (!compiled) std::abort();
  return Rules(*std::move(compiled));
}

struct SinkForTest : DecisionSink {
  void Record(const Decision& decision) override { decisions.push_back(decision); }
  void Transferred(Service, uint64_t sent_now, uint64_t received_now) override {
    sent += sent_now;
    received += received_now;
  }
  void Opened(Service, int change) override { open += change; }
  // The code of the latest decision.
  std::string last() const {
    return decisions.empty() ? "" : std::string(ToString(decisions.back().code));
  }
  std::vector<Decision> decisions;
  uint64_t sent = 0, received = 0;
  int open = 0;
};

// Runs one task to its end, whatever else runs beside it.
template <typename T>
T RunTask(asio::io_context& io, Awaitable<T> task) {
  std::optional<T> out;
  asio::co_spawn(io, std::move(task), [&out](const std::exception_ptr& failure, T value) {
    if (failure) std::rethrow_exception(failure);
    out.emplace(std::move(value));
  });
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!out) {
    if (io.stopped()) io.restart();
    io.run_one_for(std::chrono::seconds(1));
    if (std::chrono::steady_clock::now() > limit) {
      ADD_FAILURE() << "stuck";
      std::abort();
    }
  }
  return std::move(*out);
}

// A server on loopback whose answers a test makes. It stops when destroyed.
class FakeDnsServer {
 public:
  // What goes back for a query: any number of packets.
  using Reply = std::function<std::vector<Packet>(const Packet& query)>;

  // Without `tcp` its TCP port refuses.
  FakeDnsServer(asio::io_context& io, Reply udp, Reply tcp = nullptr)
      : io_(io),
        udp_(std::move(udp)),
        tcp_(std::move(tcp)),
        socket_(io),
        acceptor_(io),
        scope_(io.get_executor()) {
    // The same port for both: another may have the TCP one.
    for (int tries = 0; tries < 50; ++tries) {
      const asio::ip::address_v4 loopback = asio::ip::address_v4::loopback();
      boost::system::error_code failed;
      socket_ = asio::ip::udp::socket(io, asio::ip::udp::endpoint(loopback, 0));
      if (!tcp_) break;
      acceptor_ = asio::ip::tcp::acceptor(io, asio::ip::tcp::v4());
      acceptor_.bind({loopback, socket_.local_endpoint().port()}, failed);
      if (failed) continue;
      acceptor_.listen();
      break;
    }
    scope_.Spawn(ServeUdp());
    if (tcp_) scope_.Spawn(ServeTcp());
  }
  ~FakeDnsServer() {
    scope_.Cancel();
    while (scope_.size() > 0) {
      if (io_.stopped()) io_.restart();
      io_.run_one();
    }
  }

  net::DnsServer address() const {
    return {.address = Ip("127.0.0.1"), .port = socket_.local_endpoint().port()};
  }
  std::vector<Packet> seen;      // queries, over UDP
  asio::ip::udp::endpoint from;  // of the latest
  int tcp_queries = 0;

 private:
  Awaitable<void> ServeUdp() {
    std::array<uint8_t, 4096> buffer{};
    while (true) {
      auto [error, size] = co_await socket_.async_receive_from(asio::buffer(buffer), from, kAwait);
      if (error) co_return;
      seen.emplace_back(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(size));
      const std::vector<Packet> replies = udp_(Packet(seen.back()));
      for (const Packet& reply : replies) socket_.send_to(asio::buffer(reply), from);
    }
  }
  Awaitable<void> ServeTcp() {
    while (true) {
      auto [error, socket] = co_await acceptor_.async_accept(kAwait);
      if (error) co_return;
      std::array<uint8_t, 2> prefix{};
      auto [cut, n] = co_await asio::async_read(socket, asio::buffer(prefix), kAwait);
      if (cut) continue;
      Packet query(static_cast<size_t>(prefix[0] << 8U | prefix[1]));
      auto [short_body, m] = co_await asio::async_read(socket, asio::buffer(query), kAwait);
      if (short_body) continue;
      ++tcp_queries;
      const std::vector<Packet> replies = tcp_(query);
      for (const Packet& reply : replies) {
        Packet framed{static_cast<uint8_t>(reply.size() >> 8U), static_cast<uint8_t>(reply.size())};
        framed.insert(framed.end(), reply.begin(), reply.end());
        auto [lost, sent] = co_await asio::async_write(socket, asio::buffer(framed), kAwait);
        if (lost) break;
      }
    }
  }

  asio::io_context& io_;
  Reply udp_;
  Reply tcp_;
  asio::ip::udp::socket socket_;
  asio::ip::tcp::acceptor acceptor_;
  TaskScope scope_;
};

inline wire::DnsRecord AddressOf(std::string name, std::string_view address, uint32_t ttl = 300) {
  wire::DnsRecord record;
  record.name = std::move(name);
  record.address = Ip(address);
  const bool v4 = record.address->family() == net::IpAddress::Family::kV4;
  record.type = v4 ? wire::dns_type::kA : wire::dns_type::kAaaa;
  record.ttl = ttl;
  const auto& bytes = record.address->bytes();
  record.data.assign(bytes.begin(), bytes.begin() + (v4 ? 4 : 16));
  return record;
}

// The honest response to a query of ours.
inline Packet Answered(const Packet& query, std::vector<wire::DnsRecord> records,
                       wire::Rcode rcode = wire::Rcode::kNoError) {
  const auto parsed = wire::ParseQuery(query);
  if (!parsed) std::abort();
  wire::DnsAnswer answer;
  answer.rcode = rcode;
  answer.answers = std::move(records);
  return wire::WriteResponse(*parsed, answer, std::nullopt, wire::kMaxDnsMessage);
}

// dnsmasq on a free port of loopback, with these lines in its configuration and these in its hosts
// file. It ends with this.
class Dnsmasq {
 public:
  Dnsmasq(const std::string& lines, const std::string& hosts) {
    std::string folder = ::testing::TempDir() + "dnsmasq-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) std::abort();
    folder_ = folder;
    std::filesystem::permissions(folder_, std::filesystem::perms(0755));
    std::ofstream(folder_ / "hosts") << hosts;
    for (int tries = 0; tries < 20 && !process_; ++tries) Start(lines);
    if (!process_) ADD_FAILURE() << "dnsmasq does not start; install dnsmasq-base";
  }
  ~Dnsmasq() {
    process_.reset();  // kills it
    std::filesystem::remove_all(folder_);
  }
  net::DnsServer address() const { return {.address = Ip("127.0.0.1"), .port = port_}; }

 private:
  void Start(const std::string& lines) {
    {
      asio::io_context io;
      const asio::ip::udp::socket free(io, {asio::ip::address_v4::loopback(), 0});
      port_ = free.local_endpoint().port();
    }
    std::ofstream(folder_ / "conf") << "keep-in-foreground\nlisten-address=127.0.0.1\n"
                                    << "bind-interfaces\nno-resolv\nno-hosts\npid-file=\n"
                                    << "addn-hosts=" << (folder_ / "hosts").string() << "\n"
                                    << "port=" << port_ << "\n"
                                    << lines;
    const std::string conf = "--conf-file=" + (folder_ / "conf").string();
    auto spawned = os::Process::Spawn({"/usr/sbin/dnsmasq", conf}, {.parent_death_signal = 9});
    if (!spawned) return;
    // It listens on TCP after UDP.
    for (int waits = 0; waits < 1000; ++waits) {
      asio::io_context io;
      asio::ip::tcp::socket probe(io);
      boost::system::error_code refused;
      probe.connect({asio::ip::address_v4::loopback(), port_}, refused);
      if (!refused) {
        process_.emplace(*std::move(spawned));
        return;
      }
      const auto ended = spawned->WaitFor(std::chrono::milliseconds(10));
      if (!ended || *ended) return;  // the port was taken meanwhile
    }
  }

  std::filesystem::path folder_;
  uint16_t port_ = 0;
  std::optional<os::Process> process_;
};

}  // namespace cleanroom::doors
