// The guest's interfaces, set up through rtnetlink.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace cleanroom::guest {

struct NetworkConfig {
  std::string mac{};                     // "02:00:00:00:00:02"; empty: no interface but lo
  std::vector<std::string> addresses{};  // with prefix length: "10.0.2.2/24", "fd00::2/64"
  std::vector<std::string> gateways{};   // default routes, one of a family
};

// Brings up lo and the interface with that hardware address, in the calling thread's network
// namespace. IPv6 addresses are usable at once (no duplicate address detection) and nothing is
// learnt from router advertisements. not_found when no interface has the address,
// invalid_argument names what does not parse.
Result<void> SetUpNetwork(const NetworkConfig& config);

}  // namespace cleanroom::guest
