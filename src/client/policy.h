// Policies for requests, built from a list of hosts.
//
//   CR_TRY_ASSIGN(auto policy, client::PolicyFromAllowlist(
//       "ghcr.io/team/base@sha256:...", "", {client::Allow("api.github.com", 443)}));
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cleanroom/v1/policy.pb.h"

namespace cleanroom::client {

struct AllowedHost {
  std::string host;        // exact, or "*.example.com"
  std::vector<int> ports;  // 1-65535; empty: 80 and 443
};

// A host on these ports; without any on 80 and 443.
template <std::integral... Ports>
AllowedHost Allow(std::string host, Ports... ports) {
  return AllowedHost{std::move(host), {static_cast<int>(ports)...}};
}

// Denies everything but `rules`. `ref` or `digest` carries the image's digest; policy_invalid or
// invalid_argument when something does not fit.
Result<v1::Policy> PolicyFromAllowlist(std::string_view ref, std::string_view digest,
                                       const std::vector<AllowedHost>& rules);

}  // namespace cleanroom::client
