#include "capability/capability.h"

namespace cleanroom::capability {

Capabilities NoCapabilities() {
  Capabilities all;
  for (const std::string_view name :
       {kDependencies, kDocker, kExpose, kExposeHttps, kNetworkAllowAll, kNetworkAllowRules,
        kNetworkDenyAll, kRegistries, kRepositoryCheckout, kResources, kRunBefore, kSecrets,
        kServices, kSnapshots, kTemplates, kTtl, kWorkspaceCopy}) {
    all.emplace(name, false);
  }
  return all;
}

void Add(const Names& names, Capabilities& capabilities) {
  for (const std::string_view name : names) capabilities[std::string(name)] = true;
}

}  // namespace cleanroom::capability
