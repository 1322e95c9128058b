// SystemService (proto/cleanroom/v1/system.proto): version, and what this host offers and lacks.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/async.h"
#include "cleanroom/v1/system.pb.h"
#include "server/layout.h"
#include "server/machine_supply.h"
#include "server/service_registry.h"
#include "vmm/backend.h"

namespace cleanroom::server {

// What the qemu backend and this control plane enforce together: the backend's, and what needs no
// backend (sizes, idle limits).
vmm::Capabilities CapabilitiesOf(const MachineConfig& config);
// Those that are true.
std::set<std::string> TrueOnes(const vmm::Capabilities& capabilities);

class SystemService {
 public:
  // All outlives it.
  SystemService(const MachineSupply& machines, BlockingPool& pool, const Layout& layout,
                std::string default_backend)
      : machines_(machines),
        pool_(pool),
        layout_(layout),
        default_backend_(std::move(default_backend)) {}
  void Register(ServiceRegistry& registry);

 private:
  Awaitable<Result<::cleanroom::v1::DoctorResponse>> Doctor();
  std::vector<vmm::Check> OwnChecks() const;

  const MachineSupply& machines_;
  BlockingPool& pool_;
  const Layout& layout_;
  std::string default_backend_;
};

}  // namespace cleanroom::server
