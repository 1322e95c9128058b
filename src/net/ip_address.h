// IP addresses and CIDR blocks. An IPv4-mapped IPv6 address is the IPv4 address it maps, always.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::net {

class IpAddress {
 public:
  enum class Family : uint8_t { kV4, kV6 };

  // Dotted-quad IPv4 or RFC 4291 IPv6 text; no zone, no brackets, no legacy forms such as `127.1`.
  static std::optional<IpAddress> Parse(std::string_view text);
  static IpAddress V4(std::array<uint8_t, 4> bytes);  // network byte order
  static IpAddress V6(std::array<uint8_t, 16> bytes);

  Family family() const { return family_; }
  int bits() const { return family_ == Family::kV4 ? 32 : 128; }
  // The first 4 (IPv4) or all 16 bytes; the rest is zero.
  const std::array<uint8_t, 16>& bytes() const { return bytes_; }
  std::string ToString() const;

  auto operator<=>(const IpAddress&) const = default;

 private:
  IpAddress(Family family, std::array<uint8_t, 16> bytes) : family_(family), bytes_(bytes) {}

  Family family_;
  std::array<uint8_t, 16> bytes_;
};

class Cidr {
 public:
  // "10.1.0.0/16", "fd00::/8", or an address alone, which is a block of one. policy_invalid with
  // the remedy when host bits are set.
  static Result<Cidr> Parse(std::string_view text);
  static Cidr Single(const IpAddress& address) { return Cidr(address, address.bits()); }

  const IpAddress& base() const { return base_; }
  int prefix() const { return prefix_; }
  // Whether the block is one address: such a rule is exact, a wider one a wildcard.
  bool IsSingle() const { return prefix_ == base_.bits(); }
  bool Contains(const IpAddress& address) const;
  std::string ToString() const;  // always with its prefix length

  auto operator<=>(const Cidr&) const = default;

 private:
  Cidr(const IpAddress& base, int prefix) : base_(base), prefix_(prefix) {}

  IpAddress base_;
  int prefix_;
};

}  // namespace cleanroom::net
