// The primitives of DNS messages: a cursor over hostile bytes, and names (RFC 1035 3.1 and 4.1.4).
// Names are handled in wire form, written out in full: labels with their lengths, and the root.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cleanroom::doors::wire {

inline constexpr size_t kMaxNameLength = 255;  // in wire form, with the root
inline constexpr size_t kMaxLabel = 63;
inline constexpr int kMaxPointers = 64;  // followed for one name

// Reads from a message without ever leaving it: a read past the end fails and reads nothing.
class DnsCursor {
 public:
  explicit DnsCursor(std::span<const uint8_t> message, size_t at = 0)
      : message_(message), at_(at) {}

  size_t at() const { return at_; }
  size_t left() const { return message_.size() - at_; }
  [[nodiscard]] bool U8(uint8_t& out);
  [[nodiscard]] bool U16(uint16_t& out);
  [[nodiscard]] bool U32(uint32_t& out);
  [[nodiscard]] bool Copy(size_t count, std::vector<uint8_t>& out);  // appends
  [[nodiscard]] bool Skip(size_t count);

  enum class Pointers : uint8_t { kAllowed, kForbidden };
  // Appends the name that begins here. A pointer must lead to before the part of the name it ends,
  // so following it ends.
  [[nodiscard]] bool Name(Pointers pointers, std::vector<uint8_t>& out);

 private:
  std::span<const uint8_t> message_;
  size_t at_;
};

// Text without a trailing dot; "." is the root. Bytes that are no letter, digit, `-` or `_` are
// written `\DDD` (RFC 1035 5.1), so no two names share a text.
std::string NameToText(std::span<const uint8_t> wire);
// The inverse. None when it is no name, or too long.
std::optional<std::vector<uint8_t>> NameFromText(std::string_view text);
// Whether every label holds only letters, digits, `-` and `_`.
bool IsPlainName(std::span<const uint8_t> wire);
// Whether two names are the same but for the case of ASCII letters (RFC 4343).
bool SameName(std::span<const uint8_t> a, std::span<const uint8_t> b);
// Whether `name` is `zone` or lies below it.
bool IsWithin(std::span<const uint8_t> name, std::span<const uint8_t> zone);

void PutU16(std::vector<uint8_t>& out, uint16_t value);
void PutU32(std::vector<uint8_t>& out, uint32_t value);

}  // namespace cleanroom::doors::wire
