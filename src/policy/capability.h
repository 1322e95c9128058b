// What a backend must be able to enforce before a policy may run on it.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "policy/compiled.h"

namespace cleanroom::policy {

struct CapabilityMismatch {
  std::string key;         // of the policy file, as "sandbox.network.allow"
  std::string capability;  // what the backend lacks
  int line = 0;            // of the key; 0 when unknown
  std::string message;     // names key, line and capability, and what to do
};

// Every part of the policy that a backend with these capabilities would not enforce, in the order
// of the grammar. A part that changes nothing when it is ignored (metadata, deny rules under a bare
// deny, a disabled repository) needs no capability.
std::vector<CapabilityMismatch> Unenforceable(const CompiledPolicy& policy,
                                              const std::set<std::string>& capabilities);

// backend_capability_mismatch with every message; `mismatches` is not empty.
Error ToError(const std::vector<CapabilityMismatch>& mismatches);

}  // namespace cleanroom::policy
