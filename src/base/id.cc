#include "base/id.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <array>
#include <cstdint>

#include "base/check.h"

namespace cleanroom {
namespace {

constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr size_t kLength = 26;

}  // namespace

std::string NewId(std::chrono::system_clock::time_point now) {
  std::array<uint8_t, 16> bytes{};
  CR_CHECK(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()),
           "the kernel gives random bytes");
  const auto millis = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count());
  for (int i = 0; i < 6; ++i) bytes[i] = static_cast<uint8_t>(millis >> (8 * (5 - i)));
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x70);
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);

  // 128 bits in 26 characters of 5: the first character holds the top 3 bits.
  std::string out(kLength, '0');
  unsigned __int128 value = 0;
  for (const uint8_t byte : bytes) value = (value << 8) | byte;
  for (size_t i = kLength; i-- > 0; value >>= 5)
    out[i] = kAlphabet[static_cast<size_t>(value & 31)];
  return out;
}

bool IsId(std::string_view text) {
  return text.size() == kLength && text[0] <= '7' &&
         text.find_first_not_of(kAlphabet) == std::string_view::npos;
}

Result<void> CheckId(std::string_view text, std::string_view what) {
  if (IsId(text)) return {};
  return Err(ErrorCode::kInvalidArgument,
             fmt::format("'{}' is no {}: it must be 26 characters of 0-9 and a-z",
                         text.substr(0, 64), what));
}

}  // namespace cleanroom
