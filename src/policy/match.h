// Match: what a policy says of one destination. Pure; safe for names that a guest made up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/ip_address.h"
#include "policy/compiled.h"
#include "policy/policy.h"

namespace cleanroom::policy {

struct Destination {
  // A name as it came off the wire (ASCII, any case, perhaps with a trailing dot), or an IP
  // literal.
  std::string_view host;
  // None: any port, as when a name is resolved before its port is known.
  std::optional<uint16_t> port;
  // None: any protocol.
  std::optional<Protocol> protocol = Protocol::kTcp;
  Stage stage = Stage::kExecution;
};

// Why; the first that holds, in this order. A rule is exact when it names one host or one address.
enum class Reason : uint8_t {
  kInvalidHost,  // denied: no name that could be asked for
  kDenyExact,
  kAllowExact,
  kDenyWildcard,  // `*.` names and address blocks
  kAllowWildcard,
  kPortNotAllowed,  // denied by default, although a rule allows the host on another port or
                    // protocol
  kDefaultDeny,
  kDefaultAllow,
};
// "invalid_host", "deny_exact", …, "default_allow". What a refused guest is told, and audit records
// carry, are the coarser codes of doors/rules/decision.h.
std::string_view ToString(Reason reason);

// The list that holds the deciding rule.
enum class RuleList : uint8_t { kNone, kDeny, kAllow, kStage, kRepository };

struct Decision {
  bool allowed = false;
  Reason reason = Reason::kDefaultDeny;
  RuleList list = RuleList::kNone;
  size_t index = 0;  // in that list of the compiled policy
  int line = 0;      // of the rule in its file; 0 when unknown or when no rule decided
};

Decision Match(const CompiledPolicy& policy, const Destination& destination);

// The same for an address, without its text form.
Decision Match(const CompiledPolicy& policy, const net::IpAddress& address,
               const Destination& destination);

}  // namespace cleanroom::policy
