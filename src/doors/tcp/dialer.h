// Dialer: connects to what the policy allows, from the host's own network. A name is resolved here,
// each of its addresses is checked, and the very address that was checked is dialled: no second
// look-up happens in between.
//
// Several addresses race (RFC 8305): the families alternate, a new attempt starts when the last one
// failed or after a short while, the first to connect wins and the others are closed. A race may
// begin with one address before it is known which others there are.
#pragma once

#include <chrono>
#include <cstddef>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/async.h"
#include "doors/dns/dns_limits.h"
#include "doors/dns/resolver.h"
#include "doors/rules/rules.h"
#include "net/socket_address.h"
#include "os/unique_fd.h"

namespace cleanroom::doors {

struct DialerConfig {
  std::chrono::milliseconds stagger{250};
  std::chrono::milliseconds limit{10'000};  // for all attempts together, after resolving
  size_t max_attempts = 16;                 // addresses tried of one name
  // Watches the names that a wildcard allows: a server name in a hello leaves the sandbox, as a
  // DNS query, like one that the guest sends itself. Null: nobody does. Outlives the dialer.
  TunnelGuard* guard = nullptr;
};

// What dialling gives; the code says why not: kResolverFailed, kUpstreamFailed, or the verdict on
// the addresses.
template <typename T>
using DialOutcome = std::expected<T, Verdict>;

struct DialledConnection {
  os::UniqueFd fd;  // non-blocking
  net::Endpoint endpoint;
};

class Race {
 public:
  using Clock = std::chrono::steady_clock;

  Race(const asio::any_io_executor& executor, const DialerConfig& config);
  ~Race();  // after Run or Stop

  // Dials this address in the background. Once, before Run.
  void Begin(net::Endpoint target);
  // Whether what Begin began has connected, failed, or had all its time.
  bool ended() const;
  // Returns when it has ended, and sometimes earlier; at the latest at `deadline`.
  Awaitable<void> WaitUntil(Clock::time_point deadline);

  // The first of `targets` that answers. They begin with the address that Begin was given, if it
  // was called: that attempt goes on, and has no second time of its own if it is the only one.
  Awaitable<DialOutcome<DialledConnection>> Run(std::vector<net::Endpoint> targets);
  // Gives up.
  Awaitable<void> Stop();

 private:
  Awaitable<void> Try(net::Endpoint target);
  Awaitable<int> Attempt(net::Endpoint target);
  Verdict Failure(const std::vector<net::Endpoint>& targets) const;

  DialerConfig config_;
  Notifier changed_;
  TaskScope scope_;
  std::optional<Clock::time_point> begun_at_;
  std::optional<DialledConnection> winner_;
  size_t failed_ = 0;
  int first_error_ = 0;
  bool over_ = false;
};

class Dialer {
 public:
  Dialer(asio::any_io_executor executor, DialerConfig config, const Rules& rules,
         Resolver& resolver);

  // The addresses of the allowed name `name` (in normal form) that may be dialled on `port`, in
  // the order to try them; never empty. kTunnelSuspected when the guard objects to the name.
  Awaitable<DialOutcome<std::vector<net::Endpoint>>> Targets(std::string name, uint16_t port);

  // Connects to the first of `targets` that answers. The caller has checked them just now.
  Awaitable<DialOutcome<DialledConnection>> Connect(std::vector<net::Endpoint> targets);
  // A race of this dialer's limits, for a caller that begins before it knows all targets.
  std::unique_ptr<Race> NewRace() const;

 private:
  std::optional<std::string> Suspicion(const std::string& name, uint16_t port);

  asio::any_io_executor executor_;
  DialerConfig config_;
  const Rules& rules_;
  Resolver& resolver_;
};

// The families in turn, beginning with that of the first; otherwise in order.
std::vector<net::Endpoint> Interleave(std::span<const net::Endpoint> endpoints);

}  // namespace cleanroom::doors
