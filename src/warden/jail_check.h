// What this host lets a warden and its VMM be confined to, found out by doing it: for `doctor`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "capability/check.h"
#include "warden/confinement.h"

namespace cleanroom::warden {

// The first argument of a warden that is to inspect instead of to serve.
inline constexpr std::string_view kCheckFlag = "--check";

// Confines this process, which is then fit for nothing else, as a warden with that configuration,
// starts a child as its VMM, and looks at what both have left. One check for each layer.
std::vector<capability::Check> InspectJail(const ConfinementConfig& config);

// Lines of NAME, STATUS, MESSAGE, REMEDY between tabs, and back. The text of a process of ours that
// has read nothing from anybody; lines of another form are left out.
std::string FormatJailReport(const std::vector<capability::Check>& checks);
std::vector<capability::Check> ParseJailReport(std::string_view report);

}  // namespace cleanroom::warden
