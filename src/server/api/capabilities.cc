#include "server/api/capabilities.h"

#include "doors/rules/capabilities.h"
#include "vmm/backends/backends.h"

namespace cleanroom::server {

capability::Capabilities CapabilitiesOf(std::string_view backend) {
  capability::Capabilities all = capability::NoCapabilities();
  const auto opened = vmm::OpenBackend(backend);
  if (!opened) return all;
  capability::Add((*opened)->Capabilities(), all);
  capability::Add(doors::Capabilities(), all);
  capability::Add({capability::kRepositoryCheckout, capability::kResources, capability::kTtl}, all);
  return all;
}

std::map<std::string, capability::Capabilities> CapabilitiesOfAll() {
  std::map<std::string, capability::Capabilities> all;
  for (const std::string_view backend : vmm::kBackendNames) {
    all.emplace(backend, CapabilitiesOf(backend));
  }
  return all;
}

std::set<std::string> TrueOnes(const capability::Capabilities& capabilities) {
  std::set<std::string> names;
  for (const auto& [name, value] : capabilities) {
    if (value) names.insert(name);
  }
  return names;
}

}  // namespace cleanroom::server
