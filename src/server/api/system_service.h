// SystemService (proto/cleanroom/v1/system.proto): version, what this host offers and lacks, what
// is stored on it, and warming up.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/async.h"
#include "cleanroom/v1/system.pb.h"
#include "cleanroom/v1/system.rpc.h"
#include "rpc/service.h"
#include "server/check_source.h"
#include "server/host/machine_supply.h"
#include "server/settings.h"
#include "server/storage/storage.h"
#include "server/warm/warm_up.h"

namespace cleanroom::server {

// All of it outlives the service.
struct SystemContext {
  const MachineSupply& machines;
  const Settings& settings;
  Storage& storage;
  WarmUp& warm_up;
  std::vector<CheckSource*> checks;  // in the order in which `doctor` shows them
  WallClock clock;
};

class SystemService final : public v1::SystemService {
 public:
  explicit SystemService(SystemContext context);

 private:
  Awaitable<Result<v1::GetVersionResponse>> GetVersion(rpc::CallContext& call,
                                                       v1::GetVersionRequest request) override;
  Awaitable<Result<v1::DoctorResponse>> Doctor(rpc::CallContext& call,
                                               v1::DoctorRequest request) override;
  Awaitable<Result<void>> WarmUp(rpc::CallContext& call, v1::WarmUpRequest request,
                                 rpc::Writer<v1::WarmUpEvent>& out) override;
  Awaitable<Result<v1::DiskUsageResponse>> DiskUsage(rpc::CallContext& call,
                                                     v1::DiskUsageRequest request) override;
  Awaitable<Result<v1::PruneResponse>> Prune(rpc::CallContext& call,
                                             v1::PruneRequest request) override;

  SystemContext context_;
  std::set<std::string> capabilities_;
};

}  // namespace cleanroom::server
