// Binds the WardenService procedures (proto/cleanroom/internal/v1/warden.proto) to a supervisor and
// its network log.
#pragma once

#include "rpc/service.h"
#include "warden/network_log.h"
#include "warden/supervisor.h"

namespace cleanroom::warden {

// Both must outlive the router.
void RegisterWardenService(Supervisor& supervisor, NetworkLog& network_log, rpc::Router& router);

}  // namespace cleanroom::warden
