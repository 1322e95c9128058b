// From what a client asks for to the plan of a launch; what CreateSandbox and WarmUp share.
#pragma once

#include <chrono>
#include <set>
#include <string>

#include "base/result.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "server/launch/launch_plan.h"
#include "server/launch/launch_resources.h"
#include "server/settings.h"

namespace cleanroom::server {

// Every check of the request that needs no work: the backend, the policy and that a backend with
// these capabilities enforces it, the sizes. The plan's record has a new id.
Result<LaunchPlan> PlanLaunch(const ::cleanroom::v1::CreateSandboxRequest& request,
                              const Settings& settings, const std::set<std::string>& capabilities,
                              std::chrono::system_clock::time_point now);

// The machine that a planned sandbox runs in.
MachineShape ShapeOf(const store::SandboxRecord& record, LaunchImage image, LaunchMachine machine);

}  // namespace cleanroom::server
