#include "vmm/backends/backends.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace cleanroom::vmm {

Result<void> CheckBackendName(std::string_view name) {
  if (name == "qemu") return {};
  if (std::ranges::find(kBackendNames, name) != kBackendNames.end()) {
    return Err(ErrorCode::kBackendUnavailable,
               fmt::format("this build has no backend '{}'; use 'qemu'", name));
  }
  return Err(ErrorCode::kInvalidArgument,
             fmt::format("no backend is called '{}'; use 'qemu'", name));
}

Result<std::unique_ptr<Backend>> OpenBackend(std::string_view name, BackendConfig config) {
  CR_TRY(CheckBackendName(name));
  return std::make_unique<QemuBackend>(std::move(config.qemu));
}

bool AnyCanHold() { return QemuBackend::HasForkServer(); }

}  // namespace cleanroom::vmm
