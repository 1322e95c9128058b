// What `doctor` says of the jail: each layer, whether this host has it, and what to do when not.
#pragma once

#include <vector>

#include "capability/check.h"
#include "server/settings.h"

namespace cleanroom::server {

// Starts a warden that only inspects itself (warden/jail_check), in a folder that it makes and
// removes; blocking, for some 20 ms.
std::vector<capability::Check> CheckJail(const Settings& settings);

}  // namespace cleanroom::server
