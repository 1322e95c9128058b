// The `allow:` block for what a sandbox was refused. Pure.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cleanroom/v1/sandbox.pb.h"
#include "policy/suggested_rule.h"

namespace cleanroom::cli {

namespace v1 = ::cleanroom::v1;

// One line of an `allow:` block.
struct SuggestedLine {
  policy::SuggestedRule rule;
  std::set<std::string> reasons;  // codes of the refusals that it answers
  bool port_guessed = false;      // only a name was asked for
  // In 169.254.0.0/16 or fe80::/10, where clouds hand out a machine's credentials.
  bool link_local = false;
};

struct Suggestion {
  // Hosts before blocks, by name; one for each target and protocol.
  std::vector<SuggestedLine> lines;
  // What no rule can allow, one line each: "tcp 192.0.2.7:443 (malformed): why".
  std::vector<std::string> others;
  // Lines that wardens of earlier releases wrote, which had no rule beside them.
  std::vector<std::string> unchecked;
};

// Takes the refusals among the decisions. A rule that no door makes goes to the others, for what
// becomes part of a policy was chosen by the sandbox.
Suggestion Suggest(const std::vector<v1::NetworkDecision>& decisions);

// YAML that can stand under `sandbox.network`, with the reasons as comments; link-local rules are
// comments too.
std::string ToYaml(const Suggestion& suggestion);
// {"allow": [{"host"|"cidr", "ports", "protocol", "reason_codes", "port_guessed"?, "link_local"?}],
// "not_allowable": [text], "unchecked"?: [text]}.
std::string ToJson(const Suggestion& suggestion);

// "tcp evil.example.com:443", "dns evil.example.com", "udp [2001:db8::1]:53".
std::string DescribeDestination(const v1::NetworkDecision& decision);

}  // namespace cleanroom::cli
