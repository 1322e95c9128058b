// SystemService (proto/cleanroom/v1/system.proto): version, what this host offers and lacks, what
// is stored on it, and warming up.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/async.h"
#include "capability/check.h"
#include "cleanroom/v1/system.pb.h"
#include "rpc/service.h"
#include "server/host/machine_supply.h"
#include "server/layout.h"
#include "server/settings.h"
#include "server/storage/storage.h"
#include "server/warm/warm_up.h"

namespace cleanroom::server {

// All of it outlives the service.
struct SystemContext {
  const MachineSupply& machines;
  BlockingPool& pool;
  const Layout& layout;
  const Settings& settings;
  Storage& storage;
  WarmUp& warm_up;
  WallClock clock;
};

class SystemService {
 public:
  explicit SystemService(SystemContext context);
  void Register(rpc::Router& router);

 private:
  Awaitable<Result<::cleanroom::v1::DoctorResponse>> Doctor();
  std::vector<capability::Check> OwnChecks() const;
  Awaitable<Result<void>> WarmUpKind(::cleanroom::v1::WarmUpRequest request,
                                     rpc::Writer<::cleanroom::v1::WarmUpEvent>& out);
  Awaitable<Result<::cleanroom::v1::DiskUsageResponse>> DiskUsage();
  Awaitable<Result<::cleanroom::v1::PruneResponse>> Prune(::cleanroom::v1::PruneRequest request);

  SystemContext context_;
  std::set<std::string> capabilities_;
};

}  // namespace cleanroom::server
