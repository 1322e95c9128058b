// Binds the WardenService procedures (proto/cleanroom/internal/v1/warden.proto) to a supervisor.
#pragma once

#include "rpc/service.h"
#include "sandbox/supervisor.h"

namespace cleanroom::sandbox {

// The supervisor must outlive the router.
void RegisterWardenService(Supervisor& supervisor, rpc::Router& router);

}  // namespace cleanroom::sandbox
