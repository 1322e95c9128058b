// Names of addresses in the DNS (RFC 1035, 3.5; RFC 3596, 2.5).
#pragma once

#include <optional>
#include <string_view>

#include "net/ip_address.h"

namespace cleanroom::doors {

// Whether the name, in normal form, lies under in-addr.arpa or ip6.arpa.
bool IsReverseName(std::string_view name);

// The address that a whole such name stands for: "4.3.2.1.in-addr.arpa", or 32 nibbles under
// ip6.arpa.
std::optional<net::IpAddress> ParseReverseName(std::string_view name);

}  // namespace cleanroom::doors
