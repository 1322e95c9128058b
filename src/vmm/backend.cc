#include "vmm/backend.h"

#include <fmt/format.h>

namespace cleanroom::vmm {

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
