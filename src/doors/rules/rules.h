// Rules: what the sandbox's policy, in its present stage, says of names and addresses. Pure but for
// the stage; the doors ask it before and after every resolution.
//
// A name being allowed says nothing of the addresses it leads to: CheckTarget must also agree to
// the address that is dialled, so that an allowed name cannot lead into a private network, and
// nothing is dialled that a deny rule covers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "doors/rules/decision.h"
#include "policy/compiled.h"
#include "policy/match.h"
#include "policy/suggested_rule.h"

namespace cleanroom::doors {

struct Verdict {
  Code code = Code::kHostNotAllowed;
  int line = 0;         // of the rule that decided; 0 when none did or its line is unknown
  std::string message;  // see Decision::message
  std::optional<policy::SuggestedRule> suggestion;  // see Decision::suggestion
  bool exact = false;  // the rule that decided names this one host or address, no wildcard
  bool allowed() const { return IsAllowed(code); }
};

class Rules {
 public:
  explicit Rules(policy::CompiledPolicy policy) : policy_(std::move(policy)) {}

  policy::Stage stage() const { return stage_; }
  void SetStage(policy::Stage stage) { stage_ = stage; }
  bool allow_all() const {
    return policy_.spec().network.default_action == policy::NetworkDefault::kAllow;
  }

  // Whether some rule denies a name: then an address that is allowed by itself does not allow every
  // name it may serve.
  bool denies_names() const;

  // A name, as it came off the wire. No port: whether it may be resolved at all, for any port and
  // protocol (a DNS query does not tell).
  Verdict CheckName(std::string_view name, std::optional<uint16_t> port,
                    std::optional<policy::Protocol> protocol) const;

  // An address by itself: whether a cidr rule (or allow-all) lets the guest connect to it, whatever
  // name it goes by. Private addresses need a rule whose block lies within private space, so that
  // 0.0.0.0/0 opens the internet and not the host's networks. kHostNotAllowed is the ordinary
  // answer for an address that may still be an allowed name's.
  Verdict CheckAddress(const net::IpAddress& address, uint16_t port,
                       policy::Protocol protocol) const;

  // An address that the allowed name `name` led to: whether it may be dialled for it.
  Verdict CheckTarget(std::string_view name, const net::IpAddress& address, uint16_t port,
                      policy::Protocol protocol) const;

  // The same for an answer to a DNS query, when no port is known: whether some rule could let the
  // guest use it.
  bool MayAnswer(const net::IpAddress& address) const;

 private:
  bool CidrRuleNames(const net::IpAddress& address, std::optional<uint16_t> port,
                     std::optional<policy::Protocol> protocol) const;

  policy::CompiledPolicy policy_;
  policy::Stage stage_ = policy::Stage::kExecution;
};

// The rule that would allow this one name or address, on this port.
policy::SuggestedRule SuggestHost(std::string_view name, uint16_t port, policy::Protocol protocol);
policy::SuggestedRule SuggestAddress(const net::IpAddress& address, uint16_t port,
                                     policy::Protocol protocol);

}  // namespace cleanroom::doors
