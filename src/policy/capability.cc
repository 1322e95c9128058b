#include "policy/capability.h"

#include <fmt/format.h>

#include "capability/capability.h"

namespace cleanroom::policy {
namespace {

class Collector {
 public:
  Collector(const Policy& policy, const std::set<std::string>& capabilities)
      : policy_(policy), capabilities_(capabilities) {}

  // `line` 0: that of the key itself.
  void Need(std::string_view capability, std::string_view key, int line = 0) {
    const std::string name(capability);
    if (capabilities_.contains(name)) return;
    if (line == 0) {
      const auto found = policy_.key_lines.find(std::string(key));
      if (found != policy_.key_lines.end()) line = found->second;
    }
    const std::string place = line == 0 ? "" : fmt::format(" (line {})", line);
    found_.push_back(
        {std::string(key), name, line,
         fmt::format("`{}`{} needs the capability {}, which this backend does not have; remove "
                     "the key or choose another backend",
                     key, place, capability)});
  }

  std::vector<CapabilityMismatch> Take() { return std::move(found_); }

 private:
  const Policy& policy_;
  const std::set<std::string>& capabilities_;
  std::vector<CapabilityMismatch> found_;
};

// The line of the first rule of a list, as the file has it.
int FirstLine(const std::vector<AllowRule>& rules) {
  int first = 0;
  for (const AllowRule& rule : rules) {
    if (rule.line != 0 && (first == 0 || rule.line < first)) first = rule.line;
  }
  return first;
}

}  // namespace

std::vector<CapabilityMismatch> Unenforceable(const CompiledPolicy& compiled,
                                              const std::set<std::string>& capabilities) {
  const Policy& policy = compiled.spec();
  Collector out(policy, capabilities);
  if (policy.repository && policy.repository->enabled)
    out.Need(capability::kRepositoryCheckout, "repository");

  const Resources& resources = policy.resources;
  if (resources.vcpus || resources.memory_bytes || resources.disk_bytes) {
    out.Need(capability::kResources, "sandbox.resources");
  }
  if (policy.ttl_minutes != Policy().ttl_minutes) out.Need(capability::kTtl, "sandbox.ttl_minutes");
  if (policy.docker_required) out.Need(capability::kDocker, "sandbox.docker");

  const Network& network = policy.network;
  if (network.default_action == NetworkDefault::kDeny) {
    out.Need(capability::kNetworkDenyAll, "sandbox.network");
  } else {
    out.Need(capability::kNetworkAllowAll, "sandbox.network.default");
    if (!network.deny.empty()) {
      out.Need(capability::kNetworkAllowRules, "sandbox.network.deny", network.deny.front().line);
    }
  }
  if (!network.allow.empty()) {
    out.Need(capability::kNetworkAllowRules, "sandbox.network.allow", FirstLine(network.allow));
  }
  for (const auto& [stage, rules] : network.stages) {
    if (rules.empty()) continue;
    out.Need(capability::kNetworkAllowRules,
             fmt::format("sandbox.network.{}.allow", ToString(stage)), FirstLine(rules));
  }

  if (!policy.dependencies.empty()) out.Need(capability::kDependencies, "sandbox.dependencies");
  if (!policy.services.empty()) out.Need(capability::kServices, "sandbox.services");
  if (!policy.run_before.empty()) out.Need(capability::kRunBefore, "sandbox.run.before");
  if (!policy.registries.empty()) out.Need(capability::kRegistries, "registries");
  if (!policy.secrets.empty()) out.Need(capability::kSecrets, "secrets");
  if (policy.expose_https) out.Need(capability::kExposeHttps, "expose.https");
  return out.Take();
}

Error ToError(const std::vector<CapabilityMismatch>& mismatches) {
  std::string message;
  for (const CapabilityMismatch& mismatch : mismatches) {
    if (!message.empty()) message += "; ";
    message += mismatch.message;
  }
  return Error(ErrorCode::kBackendCapabilityMismatch, std::move(message));
}

}  // namespace cleanroom::policy
