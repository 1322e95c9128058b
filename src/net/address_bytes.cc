#include "net/address_bytes.h"

#include <fmt/format.h>
#include <netinet/ether.h>

#include "net/ip_address.h"

namespace cleanroom::net {

Result<std::string> AddressBytes(const std::string& text) {
  const auto address = IpAddress::Parse(text);
  if (!address) {
    return Err(ErrorCode::kInvalidArgument, fmt::format("'{}' is not an IP address", text));
  }
  return std::string(reinterpret_cast<const char*>(address->bytes().data()),
                     static_cast<size_t>(address->bits() / 8));
}

Result<std::string> MacBytes(const std::string& text) {
  ether_addr mac;
  if (ether_aton_r(text.c_str(), &mac) == nullptr) {
    return Err(ErrorCode::kInvalidArgument, fmt::format("'{}' is not a hardware address", text));
  }
  return std::string(reinterpret_cast<const char*>(&mac), sizeof mac);
}

}  // namespace cleanroom::net
