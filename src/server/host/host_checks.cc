#include "server/host/host_checks.h"

#include <fmt/format.h>

#include "server/launch/admission.h"
#include "vmm/accelerator.h"
#include "vmm/backends/backends.h"

namespace cleanroom::server {
namespace {

using capability::Check;

std::vector<Check> CheckVmm(const MachineConfig& config) {
  std::vector<Check> checks;
  const auto backend = vmm::OpenBackend("qemu", {.qemu = {.binary = config.qemu_binary}});
  if (backend) checks = (*backend)->Checks();
  const auto accel = vmm::ParseAcceleratorChoice(config.accel);
  if (accel) checks.push_back(vmm::CheckAccelerator(*accel, vmm::ReadKvmFacts()));
  return checks;
}

}  // namespace

Awaitable<std::vector<Check>> VmmChecks::Checks() {
  auto work = [config = config_] { return CheckVmm(config); };
  auto checks = co_await pool_.Run(work);
  if (const auto offered = vmm::CheckBackendName(default_backend_); !offered) {
    checks.push_back({"backend", Check::Status::kFail,
                      fmt::format("the default backend {} is not in this build: no sandbox starts "
                                  "without --backend qemu",
                                  default_backend_),
                      "set default_backend: qemu in the config, and start the daemon again"});
  }
  co_return checks;
}

Awaitable<std::vector<Check>> RoomChecks::Checks() {
  std::vector<Check> checks;
  const auto room = ReadHostRoom(layout_.Sandboxes());
  if (!room) {
    checks.push_back(
        {"room", Check::Status::kFail, room.error().message(), "check the state folder"});
    co_return checks;
  }
  const auto admitted = Admit(*room, 0, 0);
  checks.push_back({"room", admitted ? Check::Status::kOk : Check::Status::kFail,
                    fmt::format("{} MiB of memory and {} MiB of disk are free", room->memory_mib,
                                room->disk_mib),
                    admitted ? "" : admitted.error().message()});
  co_return checks;
}

}  // namespace cleanroom::server
