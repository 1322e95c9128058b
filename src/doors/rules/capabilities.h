// What the doors enforce of a policy, whichever backend runs the machine.
#pragma once

#include "capability/capability.h"

namespace cleanroom::doors {

inline capability::Names Capabilities() {
  return {capability::kNetworkAllowAll, capability::kNetworkAllowRules,
          capability::kNetworkDenyAll};
}

}  // namespace cleanroom::doors
