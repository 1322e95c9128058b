#include "doors/service_binding.h"

#include <algorithm>

namespace cleanroom::doors {
namespace {

// RFC 9460, 14.3.2.
constexpr uint16_t kMandatory = 0;
constexpr uint16_t kAlpn = 1;
constexpr uint16_t kNoDefaultAlpn = 2;
constexpr uint16_t kPort = 3;

constexpr size_t kMaxNameBytes = 255;

bool Passes(uint16_t key) {
  return key == kMandatory || key == kAlpn || key == kNoDefaultAlpn || key == kPort;
}

uint16_t Number(std::span<const uint8_t> bytes) {
  return static_cast<uint16_t>(bytes[0] << 8U | bytes[1]);
}

// The uncompressed name at the front, in text; takes it off. Nothing when it is malformed.
std::optional<std::string> TakeName(std::span<const uint8_t>& bytes) {
  std::string name;
  size_t at = 0;
  while (at < bytes.size() && bytes[at] != 0) {
    const size_t length = bytes[at];
    if (length > 63 || at + 1 + length >= bytes.size() || at + 1 + length >= kMaxNameBytes) {
      return std::nullopt;
    }
    if (!name.empty()) name += '.';
    name.append(reinterpret_cast<const char*>(bytes.data()) + at + 1, length);
    at += 1 + length;
  }
  if (at >= bytes.size()) return std::nullopt;
  bytes = bytes.subspan(at + 1);
  return name.empty() ? "." : name;
}

}  // namespace

std::optional<ServiceBinding> CutServiceBinding(std::span<const uint8_t> data) {
  if (data.size() < 2) return std::nullopt;
  std::span<const uint8_t> rest = data.subspan(2);  // the priority
  auto target = TakeName(rest);
  if (!target) return std::nullopt;
  ServiceBinding out{.target = *std::move(target), .data = {}};
  out.data.assign(data.begin(), data.end() - static_cast<std::ptrdiff_t>(rest.size()));
  int last = -1;
  while (!rest.empty()) {
    if (rest.size() < 4) return std::nullopt;
    const uint16_t key = Number(rest);
    const size_t length = Number(rest.subspan(2));
    // Keys stand in strictly rising order (2.2).
    if (rest.size() < 4 + length || key <= last) return std::nullopt;
    last = key;
    const auto value = rest.subspan(4, length);
    if (key == kMandatory) {
      if (length % 2 != 0) return std::nullopt;
      for (size_t i = 0; i < length; i += 2) {
        if (!Passes(Number(value.subspan(i)))) return std::nullopt;
      }
    }
    if (Passes(key)) {
      const auto whole = rest.first(4 + length);
      out.data.insert(out.data.end(), whole.begin(), whole.end());
    }
    rest = rest.subspan(4 + length);
  }
  return out;
}

}  // namespace cleanroom::doors
