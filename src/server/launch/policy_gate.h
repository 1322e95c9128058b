// PolicyGate: from what a client sent to a policy that the backend can enforce, or a refusal.
#pragma once

#include <map>
#include <set>
#include <string>

#include "base/result.h"
#include "cleanroom/v1/policy.pb.h"
#include "policy/compiled.h"
#include "server/launch/launch_plan.h"

namespace cleanroom::server {

// The policy of a request: its canonical JSON when it has one, else built from the fields of the
// original API. policy_invalid when it is no policy, or when the hash that came with it is not the
// one computed here.
Result<policy::CompiledPolicy> PolicyFromMessage(const ::cleanroom::v1::Policy& message);

// backend_capability_mismatch naming every key that a backend with these capabilities would not
// enforce.
Result<void> CheckEnforceable(const policy::CompiledPolicy& policy,
                              const std::set<std::string>& capabilities);

// The policy's floors, in MiB rounded up.
Wishes FloorsOf(const policy::CompiledPolicy& policy);

}  // namespace cleanroom::server
