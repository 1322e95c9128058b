// What a sandbox leaves on the host beside its record: its folder and its control groups.
#pragma once

#include <string>

#include "base/result.h"
#include "server/layout.h"
#include "server/settings.h"

namespace cleanroom::server {

// A file that its warden has written in its folder, of at most 1 MiB. A warden that has been taken
// over may have put a link there, or a pipe: those are not read.
Result<std::string> ReadRemains(const Layout& layout, const std::string& id,
                                const std::string& name);

// Removes both, killing what still runs in the groups; blocking. What went wrong, or nothing.
std::string RemoveRemains(const Settings& settings, const Layout& layout, const std::string& id);

}  // namespace cleanroom::server
