// Decision: what a door let through or refused, and why. One per attempt; the record that users
// see.
//
// The code is stable: it stands in audit records, in refusals a guest reads, and in metrics.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/ip_address.h"
#include "policy/policy.h"
#include "policy/suggested_rule.h"

namespace cleanroom::doors {

enum class Service : uint8_t { kDns, kTcp, kUdp, kGateway };
std::string_view ToString(Service service);  // "dns", "tcp", "udp", "gateway"

enum class Code : uint8_t {
  kAllowed,             // a rule of the policy allows it
  kAllowedAll,          // --dangerously-allow-all
  kHostNotAllowed,      // no rule allows this name or address
  kPortNotAllowed,      // a rule allows the host, but not on this port or protocol
  kDeniedByRule,        // a deny rule names it
  kPrivateAddress,      // not a public address, and no cidr rule names it
  kAddressNotResolved,  // the address was not the answer to an allowed name asked here
  kNameMissing,         // TLS without a server name, HTTP without a Host: nothing to check
  kNameMismatch,        // a later request on the connection, or an inner name, is not allowed
  kMalformed,           // not a valid message of the protocol it claims to be
  kUnsupported,         // a kind of message that no door passes
  kTunnelSuspected,     // DNS under an allowed name that looks like a tunnel
  kLimitExceeded,       // of connections, queries, half-open time or memory of this sandbox
  kResolverFailed,      // the host's resolvers did not answer, or with an error
  kUpstreamFailed,      // allowed, but the destination could not be reached
  kNoSuchRoute,         // of the gateway
};
// "allowed", "allowed_all", "host_not_allowed", … : the enumerator in snake case.
std::string_view ToString(Code code);
// Whether something passed.
bool IsAllowed(Code code);

struct Decision {
  Service service = Service::kTcp;
  policy::Protocol protocol = policy::Protocol::kTcp;
  // What was asked for: a name in normal form when one is known, else empty.
  std::string host;
  // The address the guest wanted to reach; none for a DNS query.
  std::optional<net::IpAddress> address;
  uint16_t port = 0;  // 0 for a DNS query
  Code code = Code::kHostNotAllowed;
  // For people: one sentence, no trailing dot, e.g. "evil.example.com is not allowed on port 443".
  std::string message;
  // The rule of an `allow:` block that would allow it; nothing when none would.
  std::optional<policy::SuggestedRule> suggestion;
  int line = 0;  // of the rule that decided, in its file; 0 when unknown

  // The name, or the address in text: what a record calls the destination.
  std::string Destination() const;
};

// Told of every decision, on the doors' thread. Does not block; outlives the doors.
class DecisionSink {
 public:
  virtual ~DecisionSink() = default;
  virtual void Record(const Decision& decision) = 0;
  // Bytes that passed a connection or flow when it ended (or so far, in between); to and from the
  // guest's point of view.
  virtual void Transferred(Service service, uint64_t sent, uint64_t received) = 0;
  // Changes of the number of open connections and flows.
  virtual void Opened(Service service, int change) = 0;
};

}  // namespace cleanroom::doors
