// The backends of this build, by name: the one place that knows them all.
#pragma once

#include <array>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "vmm/backend.h"
#include "vmm/qemu/qemu_backend.h"

namespace cleanroom::vmm {

// Those that a configuration may name, whether this build offers them or not.
inline constexpr std::array<std::string_view, 3> kBackendNames = {"qemu", "firecracker",
                                                                  "darwin-vz"};

// For each backend what it needs; only that of the one that is opened is read.
struct BackendConfig {
  QemuConfig qemu = {};
};

// backend_unavailable for the names that this build does not offer ("firecracker", "darwin-vz"),
// invalid_argument for any that is none.
Result<std::unique_ptr<Backend>> OpenBackend(std::string_view name, BackendConfig config = {});

// Success where OpenBackend has it.
Result<void> CheckBackendName(std::string_view name);

// Whether this build has a backend whose machines can be held (Backend::CanHold).
bool AnyCanHold();

}  // namespace cleanroom::vmm
