#include "policy/match.h"

#include <algorithm>
#include <vector>

#include "net/host_name.h"

namespace cleanroom::policy {
namespace {

// What is asked for: a name in normal form, or an address.
struct Subject {
  std::string name;
  std::optional<net::IpAddress> address;
};

bool Covers(const Target& target, const Subject& subject) {
  if (const auto* host = std::get_if<net::HostPattern>(&target)) {
    return !subject.address && host->Matches(subject.name);
  }
  return subject.address && std::get<net::Cidr>(target).Contains(*subject.address);
}

bool IsExact(const Target& target) {
  if (const auto* host = std::get_if<net::HostPattern>(&target)) return !host->is_wildcard();
  return std::get<net::Cidr>(target).IsSingle();
}

bool CoversPort(const AllowRule& rule, const Destination& destination) {
  if (destination.protocol && *destination.protocol != rule.protocol) return false;
  return !destination.port ||
         std::binary_search(rule.ports.begin(), rule.ports.end(), *destination.port);
}

// What the rules of the lists looked at so far give.
struct Findings {
  std::optional<Decision> allow_exact;
  std::optional<Decision> allow_wildcard;
  bool other_port = false;

  void Look(const std::vector<AllowRule>& rules, RuleList list, const Subject& subject,
            const Destination& destination) {
    for (size_t i = 0; i < rules.size(); ++i) {
      const AllowRule& rule = rules[i];
      if (!Covers(rule.target, subject)) continue;
      if (!CoversPort(rule, destination)) {
        other_port = true;
        continue;
      }
      const bool exact = IsExact(rule.target);
      std::optional<Decision>& slot = exact ? allow_exact : allow_wildcard;
      if (slot) continue;
      slot = Decision{.allowed = true,
                      .reason = exact ? Reason::kAllowExact : Reason::kAllowWildcard,
                      .list = list,
                      .index = i,
                      .line = rule.line};
    }
  }
};

Decision Decide(const Policy& policy, const Subject& subject, const Destination& destination) {
  const Network& network = policy.network;
  std::optional<Decision> deny_exact;
  std::optional<Decision> deny_wildcard;
  for (size_t i = 0; i < network.deny.size(); ++i) {
    const DenyRule& rule = network.deny[i];
    if (!Covers(rule.target, subject)) continue;
    const bool exact = IsExact(rule.target);
    std::optional<Decision>& slot = exact ? deny_exact : deny_wildcard;
    if (slot) continue;
    slot = Decision{.reason = exact ? Reason::kDenyExact : Reason::kDenyWildcard,
                    .list = RuleList::kDeny,
                    .index = i,
                    .line = rule.line};
  }

  Findings found;
  found.Look(network.allow, RuleList::kAllow, subject, destination);
  if (const auto stage = network.stages.find(destination.stage); stage != network.stages.end()) {
    found.Look(stage->second, RuleList::kStage, subject, destination);
  }
  if (destination.stage == Stage::kRepository && policy.repository && policy.repository->enabled) {
    found.Look(policy.repository->allow, RuleList::kRepository, subject, destination);
  }

  if (deny_exact) return *deny_exact;
  if (found.allow_exact) return *found.allow_exact;
  if (deny_wildcard) return *deny_wildcard;
  if (found.allow_wildcard) return *found.allow_wildcard;
  if (network.default_action == NetworkDefault::kAllow) {
    return {.allowed = true, .reason = Reason::kDefaultAllow};
  }
  return {.reason = found.other_port ? Reason::kPortNotAllowed : Reason::kDefaultDeny};
}

}  // namespace

std::string_view ToString(Reason reason) {
  switch (reason) {
    case Reason::kInvalidHost:
      return "invalid_host";
    case Reason::kDenyExact:
      return "deny_exact";
    case Reason::kAllowExact:
      return "allow_exact";
    case Reason::kDenyWildcard:
      return "deny_wildcard";
    case Reason::kAllowWildcard:
      return "allow_wildcard";
    case Reason::kPortNotAllowed:
      return "port_not_allowed";
    case Reason::kDefaultDeny:
      return "default_deny";
    case Reason::kDefaultAllow:
      return "default_allow";
  }
  return "";
}

Decision Match(const CompiledPolicy& policy, const Destination& destination) {
  std::string_view literal = destination.host;
  if (literal.starts_with('[') && literal.ends_with(']'))
    literal = literal.substr(1, literal.size() - 2);
  if (const auto address = net::IpAddress::Parse(literal))
    return Match(policy, *address, destination);
  Result<std::string> name = net::NormalizeWireHost(destination.host);
  if (!name) return {.reason = Reason::kInvalidHost};
  return Decide(policy.spec(), {*std::move(name), std::nullopt}, destination);
}

Decision Match(const CompiledPolicy& policy, const net::IpAddress& address,
               const Destination& destination) {
  return Decide(policy.spec(), {"", address}, destination);
}

}  // namespace cleanroom::policy
