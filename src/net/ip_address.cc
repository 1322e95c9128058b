#include "net/ip_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace cleanroom::net {
namespace {

constexpr size_t kMaxAddressText = INET6_ADDRSTRLEN;

bool IsMapped(const std::array<uint8_t, 16>& bytes) {
  return std::all_of(bytes.begin(), bytes.begin() + 10, [](uint8_t b) { return b == 0; }) &&
         bytes[10] == 0xFF && bytes[11] == 0xFF;
}

// `address` with every bit after the first `prefix` cleared.
std::array<uint8_t, 16> Mask(const IpAddress& address, int prefix) {
  std::array<uint8_t, 16> bytes = address.bytes();
  for (int i = 0; i < 16; ++i) {
    const int kept = std::clamp(prefix - i * 8, 0, 8);
    bytes[i] = static_cast<uint8_t>(bytes[i] & (0xFF00 >> kept));
  }
  return bytes;
}

}  // namespace

IpAddress IpAddress::V4(std::array<uint8_t, 4> bytes) {
  std::array<uint8_t, 16> all{};
  std::copy(bytes.begin(), bytes.end(), all.begin());
  return {Family::kV4, all};
}

IpAddress IpAddress::V6(std::array<uint8_t, 16> bytes) {
  if (IsMapped(bytes)) return V4({bytes[12], bytes[13], bytes[14], bytes[15]});
  return {Family::kV6, bytes};
}

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  if (text.empty() || text.size() > kMaxAddressText || text.find('\0') != text.npos) {
    return std::nullopt;
  }
  const std::string terminated(text);
  std::array<uint8_t, 4> v4{};
  if (inet_pton(AF_INET, terminated.c_str(), v4.data()) == 1) return V4(v4);
  std::array<uint8_t, 16> v6{};
  if (inet_pton(AF_INET6, terminated.c_str(), v6.data()) == 1) return V6(v6);
  return std::nullopt;
}

std::string IpAddress::ToString() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(family_ == Family::kV4 ? AF_INET : AF_INET6, bytes_.data(), text.data(), text.size());
  return text.data();
}

Result<Cidr> Cidr::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string_view address_text = text.substr(0, slash);
  const std::optional<IpAddress> address = IpAddress::Parse(address_text);
  if (!address) {
    return Err(
        ErrorCode::kPolicyInvalid,
        fmt::format("`{}` is not an address block; write one such as 10.1.0.0/16 or fd00::/8",
                    text.substr(0, kMaxAddressText)));
  }
  if (slash == text.npos) return Single(*address);
  if (address_text.find(':') != text.npos && address->family() == IpAddress::Family::kV4) {
    return Err(ErrorCode::kPolicyInvalid,
               fmt::format("`{}` is an IPv4-mapped block; write it as IPv4", text.substr(0, 64)));
  }

  const std::string_view digits = text.substr(slash + 1);
  int prefix = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  if (error != std::errc() || end != digits.data() + digits.size() || prefix < 0 ||
      prefix > address->bits() || digits.front() == '-' ||
      (digits.size() > 1 && digits[0] == '0')) {
    return Err(ErrorCode::kPolicyInvalid, fmt::format("the prefix length of `{}` must be 0 to {}",
                                                      text.substr(0, 64), address->bits()));
  }
  const Cidr block(*address, prefix);
  if (Mask(*address, prefix) != address->bytes()) {
    IpAddress base = *address;
    const auto masked = Mask(*address, prefix);
    if (base.family() == IpAddress::Family::kV4) {
      base = IpAddress::V4({masked[0], masked[1], masked[2], masked[3]});
    } else {
      base = IpAddress::V6(masked);
    }
    return Err(
        ErrorCode::kPolicyInvalid,
        fmt::format("`{}` has bits set after its prefix; write {}/{} for the block or {}/{} for "
                    "the address",
                    text.substr(0, 64), base.ToString(), prefix, address->ToString(),
                    address->bits()));
  }
  return block;
}

bool Cidr::Contains(const IpAddress& address) const {
  return address.family() == base_.family() && Mask(address, prefix_) == base_.bytes();
}

std::string Cidr::ToString() const { return fmt::format("{}/{}", base_.ToString(), prefix_); }

}  // namespace cleanroom::net
