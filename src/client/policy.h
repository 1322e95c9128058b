// Policies for requests: built from a list of hosts, or from a compiled policy file.
//
//   CR_TRY_ASSIGN(auto policy, client::PolicyFromAllowlist(
//       "ghcr.io/team/base@sha256:...", "", {client::Allow("api.github.com", 443)}));
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

#include "cleanroom/v1/policy.pb.h"
#include "policy/compiled.h"

namespace cleanroom::client {

// A host (exact, or "*.example.com") on these ports; without any on 80 and 443.
template <std::integral... Ports>
policy::AllowedHost Allow(std::string host, Ports... ports) {
  return policy::AllowedHost{std::move(host), {static_cast<int>(ports)...}};
}

// Denies everything but `rules`. `ref` or `digest` carries the image's digest; policy_invalid or
// invalid_argument when something does not fit.
Result<v1::Policy> PolicyFromAllowlist(std::string_view ref, std::string_view digest,
                                       std::initializer_list<policy::AllowedHost> rules);

// The form that travels: canonical_json carries everything; the other fields repeat what clients of the original
// API know (allow rules by IP block or UDP have no place there).
v1::Policy ToProto(const policy::CompiledPolicy& compiled);

}  // namespace cleanroom::client
