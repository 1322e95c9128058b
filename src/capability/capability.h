// What a policy may need of whatever runs it: one name for each, the keys of the capability map
// (`cleanroom doctor --json`).
//
// Each owner says what it does (a backend, the doors, the control plane), one place joins that
// (server/api/capabilities), and policy compares: a launch that needs a name that is false is
// refused with backend_capability_mismatch.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cleanroom::capability {

inline constexpr std::string_view kDependencies = "dependencies";
inline constexpr std::string_view kDocker = "docker";
inline constexpr std::string_view kExpose = "expose";
inline constexpr std::string_view kExposeHttps = "expose_https";
// --dangerously-allow-all
inline constexpr std::string_view kNetworkAllowAll = "network_allow_all";
// Allow, with deny exceptions.
inline constexpr std::string_view kNetworkAllowRules = "network_allow_rules";
// Default deny without rules.
inline constexpr std::string_view kNetworkDenyAll = "network_deny_all";
inline constexpr std::string_view kRegistries = "registries";
inline constexpr std::string_view kRepositoryCheckout = "repository_checkout";
// Floors for processors, memory and disk.
inline constexpr std::string_view kResources = "resources";
inline constexpr std::string_view kRunBefore = "run_before";
inline constexpr std::string_view kSecrets = "secrets";
inline constexpr std::string_view kServices = "services";
inline constexpr std::string_view kSnapshots = "snapshots";
inline constexpr std::string_view kTemplates = "templates";
// Idle limits.
inline constexpr std::string_view kTtl = "ttl";
inline constexpr std::string_view kWorkspaceCopy = "workspace_copy";

// What one owner does.
using Names = std::vector<std::string_view>;
// Every name, and whether somebody does it.
using Capabilities = std::map<std::string, bool, std::less<>>;

// Every name above, false.
Capabilities NoCapabilities();
// Sets these.
void Add(const Names& names, Capabilities& capabilities);

}  // namespace cleanroom::capability
