// The DNS servers that a sandbox's names are asked of, for its warden.
#pragma once

#include <string>
#include <vector>

#include "server/settings.h"

namespace cleanroom::server {

// "192.0.2.1:53", "[2001:db8::1]:53": those of the settings, else of resolv.conf as it is now; a
// missing one counts as an empty one.
std::vector<std::string> HostResolvers(const Settings& settings);

}  // namespace cleanroom::server
