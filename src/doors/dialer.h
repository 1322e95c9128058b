// Dialer: connects to what the policy allows, from the host's own network. A name is resolved here,
// each of its addresses is checked, and the very address that was checked is dialled: no second
// look-up happens in between.
//
// Several addresses race (RFC 8305): the families alternate, a new attempt starts when the last one
// failed or after a short while, the first to connect wins and the others are closed.
#pragma once

#include <chrono>
#include <cstddef>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/async.h"
#include "doors/dns_limits.h"
#include "doors/endpoint.h"
#include "doors/resolver.h"
#include "doors/rules.h"
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

class Dialer {
 public:
  Dialer(asio::any_io_executor executor, DialerConfig config, const Rules& rules,
         Resolver& resolver);

  struct Connection {
    os::UniqueFd fd;  // non-blocking
    Endpoint endpoint;
  };
  // Its code says why: kResolverFailed, kUpstreamFailed, or the verdict on the addresses.
  template <typename T>
  using Outcome = std::expected<T, Verdict>;

  // The addresses of the allowed name `name` (in normal form) that may be dialled on `port`, in
  // the order to try them; never empty. kTunnelSuspected when the guard objects to the name.
  Awaitable<Outcome<std::vector<Endpoint>>> Targets(std::string name, uint16_t port);

  // Connects to the first of `targets` that answers. The caller has checked them just now.
  Awaitable<Outcome<Connection>> Connect(std::vector<Endpoint> targets);

 private:
  std::optional<std::string> Suspicion(const std::string& name, uint16_t port);

  asio::any_io_executor executor_;
  DialerConfig config_;
  const Rules& rules_;
  Resolver& resolver_;
};

// The families in turn, beginning with that of the first; otherwise in order.
std::vector<Endpoint> Interleave(std::span<const Endpoint> endpoints);

}  // namespace cleanroom::doors
