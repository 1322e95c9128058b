#include "doors/dns/reverse_name.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <vector>

namespace cleanroom::doors {
namespace {

constexpr std::string_view kV4 = ".in-addr.arpa";
constexpr std::string_view kV6 = ".ip6.arpa";

// `count` labels, each a number of at most `digits` digits in `base`, written without leading
// zeros.
std::optional<std::vector<uint8_t>> Numbers(std::string_view text, size_t count, size_t digits,
                                            int base) {
  std::vector<uint8_t> numbers;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find('.', start), text.size());
    const std::string_view label = text.substr(start, end - start);
    if (label.empty() || label.size() > digits || numbers.size() == count) return std::nullopt;
    if (label.size() > 1 && label.front() == '0') return std::nullopt;
    uint8_t number = 0;
    const auto [stop, error] =
        std::from_chars(label.data(), label.data() + label.size(), number, base);
    if (error != std::errc() || stop != label.data() + label.size()) return std::nullopt;
    numbers.push_back(number);
    start = end + 1;
  }
  if (numbers.size() != count) return std::nullopt;
  return numbers;
}

}  // namespace

bool IsReverseName(std::string_view name) {
  return name.ends_with(kV4) || name.ends_with(kV6) || name == kV4.substr(1) ||
         name == kV6.substr(1);
}

std::optional<net::IpAddress> ParseReverseName(std::string_view name) {
  if (name.ends_with(kV4)) {
    const auto parts = Numbers(name.substr(0, name.size() - kV4.size()), 4, 3, 10);
    if (!parts) return std::nullopt;
    return net::IpAddress::V4({(*parts)[3], (*parts)[2], (*parts)[1], (*parts)[0]});
  }
  if (!name.ends_with(kV6)) return std::nullopt;
  const auto nibbles = Numbers(name.substr(0, name.size() - kV6.size()), 32, 1, 16);
  if (!nibbles) return std::nullopt;
  std::array<uint8_t, 16> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<uint8_t>((*nibbles)[31 - 2 * i] << 4U | (*nibbles)[30 - 2 * i]);
  }
  return net::IpAddress::V6(bytes);
}

}  // namespace cleanroom::doors
