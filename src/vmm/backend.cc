#include "vmm/backend.h"

#include <fmt/format.h>

namespace cleanroom::vmm {

Capabilities NoCapabilities() {
  Capabilities all;
  for (const std::string_view name :
       {capability::kNetworkDenyAll, capability::kNetworkAllowRules, capability::kNetworkAllowAll,
        capability::kDocker, capability::kDependencies, capability::kServices,
        capability::kRegistries, capability::kSecrets, capability::kExpose,
        capability::kExposeHttps, capability::kRepositoryCheckout, capability::kRunBefore,
        capability::kSnapshots, capability::kTemplates, capability::kWorkspaceCopy}) {
    all.emplace(name, false);
  }
  return all;
}

std::string_view ToString(Check::Status status) {
  switch (status) {
    case Check::Status::kOk:
      return "ok";
    case Check::Status::kWarn:
      return "warn";
    case Check::Status::kFail:
      return "fail";
  }
  return "fail";
}

std::string_view ToString(Accelerator accelerator) {
  return accelerator == Accelerator::kKvm ? "kvm" : "tcg";
}

Result<void> CheckBackendName(std::string_view name) {
  if (name == "qemu") return {};
  if (name == "firecracker" || name == "darwin-vz") {
    return Err(ErrorCode::kBackendUnavailable,
               fmt::format("this build has no backend '{}'; use 'qemu'", name));
  }
  return Err(ErrorCode::kInvalidArgument,
             fmt::format("no backend is called '{}'; use 'qemu'", name));
}

}  // namespace cleanroom::vmm
