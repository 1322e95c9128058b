#include "doors/rules/rules.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/address_class.h"
#include "net/host_name.h"

namespace cleanroom::doors {
namespace {

using net::Cidr;
using net::IpAddress;
using policy::Protocol;
using policy::Reason;
using policy::SuggestedRule;

std::string Place(std::optional<uint16_t> port, std::optional<Protocol> protocol) {
  if (!port) return "";
  const bool udp = protocol == Protocol::kUdp;
  return fmt::format(" on {} port {}", udp ? "UDP" : "TCP", *port);
}

Verdict Judge(const policy::Decision& decision, const std::string& subject,
              const std::string& place, std::optional<SuggestedRule> suggestion) {
  switch (decision.reason) {
    case Reason::kAllowExact:
    case Reason::kAllowWildcard:
      return {Code::kAllowed,
              decision.line,
              fmt::format("{} is allowed{}", subject, place),
              {},
              decision.reason == Reason::kAllowExact};
    case Reason::kDefaultAllow:
      return {Code::kAllowedAll,
              0,
              fmt::format("{} is let through{}: this sandbox allows everything", subject, place),
              {}};
    case Reason::kDenyExact:
    case Reason::kDenyWildcard:
      return {Code::kDeniedByRule,
              decision.line,
              fmt::format("{} is denied by a rule of the policy", subject),
              {}};
    case Reason::kPortNotAllowed:
      return {Code::kPortNotAllowed, 0, fmt::format("{} is not allowed{}", subject, place),
              std::move(suggestion)};
    case Reason::kInvalidHost:
      return {Code::kMalformed, 0, fmt::format("{} is no host name", subject), {}};
    case Reason::kDefaultDeny:
      break;
  }
  return {Code::kHostNotAllowed, 0, fmt::format("{} is not allowed{}", subject, place),
          std::move(suggestion)};
}

// The special block an address lies in says how narrow a rule must be to name it.
bool Names(const Cidr& rule, const IpAddress& address) {
  if (!rule.Contains(address)) return false;
  return net::Classify(rule.base()) == net::Classify(address) && rule.prefix() > 0;
}

}  // namespace

SuggestedRule SuggestHost(std::string_view name, uint16_t port, Protocol protocol) {
  return {SuggestedRule::Kind::kHost, std::string(name), {port}, protocol};
}

SuggestedRule SuggestAddress(const IpAddress& address, uint16_t port, Protocol protocol) {
  return {SuggestedRule::Kind::kCidr, Cidr::Single(address).ToString(), {port}, protocol};
}

bool Rules::denies_names() const {
  const auto& deny = policy_.spec().network.deny;
  return std::any_of(deny.begin(), deny.end(), [](const policy::DenyRule& rule) {
    return std::holds_alternative<net::HostPattern>(rule.target);
  });
}

Verdict Rules::CheckName(std::string_view name, std::optional<uint16_t> port,
                         std::optional<Protocol> protocol) const {
  const auto normal = net::NormalizeWireHost(name);
  if (!normal) {
    return {Code::kMalformed, 0, "what was asked for is no host name", {}};
  }
  const auto decision = policy::Match(
      policy_, {.host = *normal, .port = port, .protocol = protocol, .stage = stage_});
  SuggestedRule suggestion =
      SuggestHost(*normal, port.value_or(443), protocol.value_or(Protocol::kTcp));
  return Judge(decision, *normal, Place(port, protocol), std::move(suggestion));
}

Verdict Rules::CheckAddress(const IpAddress& address, uint16_t port, Protocol protocol) const {
  const std::string text = address.ToString();
  const std::string place = Place(port, protocol);
  const net::AddressClass is = net::Classify(address);
  if (is == net::AddressClass::kNever) {
    return {Code::kUnsupported, 0, fmt::format("{} is no address to connect to", text), {}};
  }
  const auto decision = policy::Match(
      policy_, address, {.host = {}, .port = port, .protocol = protocol, .stage = stage_});
  Verdict verdict = Judge(decision, text, place, SuggestAddress(address, port, protocol));
  if (!verdict.allowed() || is == net::AddressClass::kPublic) return verdict;
  // Allow-all opens the host's networks, never the host's own loopback.
  if (verdict.code == Code::kAllowedAll && is == net::AddressClass::kPrivate) return verdict;
  if (CidrRuleNames(address, port, protocol)) return verdict;
  return {Code::kPrivateAddress, 0,
          fmt::format("{} is not a public address, and no cidr rule names it{}", text, place),
          SuggestAddress(address, port, protocol)};
}

Verdict Rules::CheckTarget(std::string_view name, const IpAddress& address, uint16_t port,
                           Protocol protocol) const {
  Verdict by_name = CheckName(name, port, protocol);
  if (!by_name.allowed()) return by_name;
  Verdict by_address = CheckAddress(address, port, protocol);
  if (by_address.allowed()) return by_name;
  if (by_address.code == Code::kDeniedByRule || by_address.code == Code::kUnsupported) {
    return by_address;
  }
  if (net::Classify(address) == net::AddressClass::kPublic) return by_name;
  return {Code::kPrivateAddress, 0,
          fmt::format("{} leads to {}, which is not a public address, and no cidr rule names it{}",
                      name, address.ToString(), Place(port, protocol)),
          SuggestAddress(address, port, protocol)};
}

bool Rules::MayAnswer(const IpAddress& address) const {
  const net::AddressClass is = net::Classify(address);
  if (is == net::AddressClass::kNever) return false;
  const auto decision =
      policy::Match(policy_, address,
                    {.host = {}, .port = std::nullopt, .protocol = std::nullopt, .stage = stage_});
  if (decision.reason == Reason::kDenyExact || decision.reason == Reason::kDenyWildcard) {
    return false;
  }
  if (is == net::AddressClass::kPublic) return true;
  if (allow_all() && is == net::AddressClass::kPrivate) return true;
  return CidrRuleNames(address, std::nullopt, std::nullopt);
}

bool Rules::CidrRuleNames(const IpAddress& address, std::optional<uint16_t> port,
                          std::optional<Protocol> protocol) const {
  const auto& network = policy_.spec().network;
  auto named_by = [&](const std::vector<policy::AllowRule>& rules) {
    for (const policy::AllowRule& rule : rules) {
      const auto* cidr = std::get_if<Cidr>(&rule.target);
      if (cidr == nullptr || !Names(*cidr, address)) continue;
      if (protocol && *protocol != rule.protocol) continue;
      if (port && std::find(rule.ports.begin(), rule.ports.end(), *port) == rule.ports.end()) {
        continue;
      }
      return true;
    }
    return false;
  };
  if (named_by(network.allow)) return true;
  const auto stage = network.stages.find(stage_);
  if (stage != network.stages.end() && named_by(stage->second)) return true;
  const auto& repository = policy_.spec().repository;
  return stage_ == policy::Stage::kRepository && repository && repository->enabled &&
         named_by(repository->allow);
}

}  // namespace cleanroom::doors
