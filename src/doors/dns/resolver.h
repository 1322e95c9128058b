// Resolver: asks the host's DNS servers, for the doors. Each question goes out with a random id,
// from a fresh random port, with random letter case (draft-vixie-dnsext-dns0x20), is repeated to
// the next server when one is silent or broken, and asked again over TCP when the answer was cut.
// Answers are kept for their time to live, at least a second. A server that was silent is asked
// last for half a minute.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/async.h"
#include "doors/dns/dns_message.h"
#include "net/ip_address.h"
#include "net/resolv_conf.h"

namespace cleanroom::doors {

struct ResolverConfig {
  // In order of preference, at most 8. Empty: every question fails with kResolverFailed's Error.
  std::vector<net::DnsServer> servers;
  std::chrono::milliseconds attempt_limit{1500};  // for one server to answer
  std::chrono::milliseconds total_limit{5000};
  size_t max_in_flight = 256;  // more are refused with resource_exhausted
  size_t max_cached = 4096;    // answers; the oldest go first
  size_t max_cached_bytes = 2U << 20U;
  std::chrono::seconds max_ttl{3600};
  std::chrono::seconds negative_ttl{30};  // of NXDOMAIN and empty answers, at most
  // Tells the age of what is kept.
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

class Resolver {
 public:
  Resolver(asio::any_io_executor executor, ResolverConfig config);
  ~Resolver();  // no question may be pending

  // The answer to (name, type), followed along CNAMEs as far as the servers did (they recurse).
  // `name` is in normal form. Equal questions at the same time share one. NXDOMAIN and empty
  // answers are answers. unavailable or deadline_exceeded, naming the servers, when none gave one;
  // canceled when the task was.
  Awaitable<Result<wire::DnsAnswer>> Resolve(std::string name, uint16_t type);

  // What Resolve would answer at once, from memory, with what is left of its time to live.
  std::optional<wire::DnsAnswer> Remembered(std::string_view name, uint16_t type);

  struct Addresses {
    std::vector<net::IpAddress> list;  // distinct, in the servers' order, at most 64
    std::chrono::seconds ttl{0};       // the least of the chain's
  };
  // A and AAAA together, asked at once. not_found when the name has neither; the error of a
  // question only when the other gave no address.
  Awaitable<Result<Addresses>> ResolveAddresses(std::string name);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cleanroom::doors
