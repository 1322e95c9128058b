// Addresses as the kernel takes them: bytes in network order.
#pragma once

#include <string>

#include "base/result.h"

namespace cleanroom::net {

// 4 or 16 bytes of an IPv4 or IPv6 address, as it is written: "::ffff:1.2.3.4" has 16.
// invalid_argument for anything else.
Result<std::string> AddressBytes(const std::string& text);

// 6 bytes of "02:00:00:00:00:01"; invalid_argument for anything else.
Result<std::string> MacBytes(const std::string& text);

}  // namespace cleanroom::net
