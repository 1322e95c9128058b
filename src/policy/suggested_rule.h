// SuggestedRule: a rule of an `allow:` block that would allow what a sandbox was refused. The doors
// make it, and it travels as data to whoever shows it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "policy/policy.h"

namespace cleanroom::policy {

struct SuggestedRule {
  enum class Kind : uint8_t { kHost, kCidr } kind = Kind::kHost;
  std::string target;           // a name in normal form, or a block of one address: "10.1.2.3/32"
  std::vector<uint16_t> ports;  // rising
  Protocol protocol = Protocol::kTcp;
  bool operator==(const SuggestedRule&) const = default;
};

// Whether it is one that a door makes: one name without a wildcard or one address, on one port at
// least. The sandbox chose the destination, and it may become part of a policy, so
// whoever takes a rule from elsewhere asks this.
bool IsWellFormed(const SuggestedRule& rule);

// Its line in an `allow:` block: "- a.example.com:443", "- { host: a.example.com, ports: [53],
// protocol: udp }", "- { cidr: 10.1.2.3/32, ports: [80, 443] }".
std::string AllowLine(const SuggestedRule& rule);

}  // namespace cleanroom::policy
