// What sandboxes can do here: what their backend does, what the doors enforce whichever it is, and
// what the control plane does by itself.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "capability/capability.h"

namespace cleanroom::server {

// Of a backend by its name; every name is false when this build does not offer it.
capability::Capabilities CapabilitiesOf(std::string_view backend);
// Of every backend that has a name.
std::map<std::string, capability::Capabilities> CapabilitiesOfAll();
// Those that are true.
std::set<std::string> TrueOnes(const capability::Capabilities& capabilities);

}  // namespace cleanroom::server
