// What a backend must be able to enforce before a policy may run on it.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "policy/compiled.h"

namespace cleanroom::policy {

// Names in a backend's capability map (`cleanroom doctor --json`).
namespace capability {
inline constexpr std::string_view kNetworkDenyAll =
    "network_deny_all";  // default deny without rules
inline constexpr std::string_view kNetworkAllowRules =
    "network_allow_rules";  // allow, with deny exceptions
inline constexpr std::string_view kNetworkAllowAll =
    "network_allow_all";  // --dangerously-allow-all
inline constexpr std::string_view kResources = "resources";
inline constexpr std::string_view kTtl = "ttl";
inline constexpr std::string_view kDocker = "docker";
inline constexpr std::string_view kDependencies = "dependencies";
inline constexpr std::string_view kServices = "services";
inline constexpr std::string_view kRunBefore = "run_before";
inline constexpr std::string_view kRegistries = "registries";
inline constexpr std::string_view kSecrets = "secrets";
inline constexpr std::string_view kExposeHttps = "expose_https";
inline constexpr std::string_view kRepositoryCheckout = "repository_checkout";
}  // namespace capability

struct CapabilityMismatch {
  std::string key;         // of the policy file, as "sandbox.network.allow"
  std::string capability;  // what the backend lacks
  int line = 0;            // of the key; 0 when unknown
  std::string message;     // names key, line and capability, and what to do
};

// Every part of the policy that a backend with these capabilities would not enforce, in the order
// of the grammar. A part that changes nothing when it is ignored (metadata, deny rules under a bare
// deny, a disabled repository) needs no capability.
std::vector<CapabilityMismatch> Unenforceable(const CompiledPolicy& policy,
                                              const std::set<std::string>& capabilities);

// backend_capability_mismatch with every message; `mismatches` is not empty.
Error ToError(const std::vector<CapabilityMismatch>& mismatches);

}  // namespace cleanroom::policy
