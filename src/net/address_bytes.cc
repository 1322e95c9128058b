#include "net/address_bytes.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/ether.h>

#include <array>

namespace cleanroom::net {

// Not by IpAddress, which takes an IPv4-mapped address for the IPv4 address: a rule may name either.
Result<std::string> AddressBytes(const std::string& text) {
  std::array<char, 16> bytes;
  if (inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) return std::string(bytes.data(), 4);
  if (inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return std::string(bytes.data(), 16);
  return Err(ErrorCode::kInvalidArgument, fmt::format("'{}' is not an IP address", text));
}

Result<std::string> MacBytes(const std::string& text) {
  ether_addr mac;
  if (ether_aton_r(text.c_str(), &mac) == nullptr) {
    return Err(ErrorCode::kInvalidArgument, fmt::format("'{}' is not a hardware address", text));
  }
  return std::string(reinterpret_cast<const char*>(&mac), sizeof mac);
}

}  // namespace cleanroom::net
