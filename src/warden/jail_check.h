// What this host lets a warden and its VMM be confined to, found out by doing it: for `doctor`.
#pragma once

#include <vector>

#include "capability/check.h"
#include "warden/confinement.h"

namespace cleanroom::warden {

// Confines this process, which is then fit for nothing else, as a warden with that configuration,
// starts a child as its VMM, and looks at what both have left. One check for each layer.
std::vector<capability::Check> InspectJail(const ConfinementConfig& config);

}  // namespace cleanroom::warden
