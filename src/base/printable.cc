#include "base/printable.h"

#include <fmt/format.h>

#include <cstdint>

#include "base/utf8.h"

namespace cleanroom {
namespace {

// Of two bytes: C1, and U+061C. Of three: U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069.
bool IsHidden(std::string_view character) {
  const auto at = [character](size_t i) { return static_cast<uint8_t>(character[i]); };
  switch (character.size()) {
    case 1:
      return at(0) < 0x20 || at(0) == 0x7f;
    case 2:
      return (at(0) == 0xc2 && at(1) < 0xa0) || (at(0) == 0xd8 && at(1) == 0x9c);
    case 3:
      if (at(0) != 0xe2) return false;
      return (at(1) == 0x80 &&
              (at(2) == 0x8e || at(2) == 0x8f || (at(2) >= 0xaa && at(2) <= 0xae))) ||
             (at(1) == 0x81 && at(2) >= 0xa6 && at(2) <= 0xa9);
    default:
      return false;
  }
}

template <typename Hide>
std::string Filter(std::string_view text, std::string_view keep, Hide hide) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    size_t length = PrintableLength(text);
    if (length == 0 && keep.contains(text[0])) length = 1;
    if (length == 0) {
      hide(out, text[0]);
      text.remove_prefix(1);
    } else {
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return out;
}

}  // namespace

size_t PrintableLength(std::string_view text) {
  const size_t length = Utf8SequenceLength(text);
  return length == 0 || IsHidden(text.substr(0, length)) ? 0 : length;
}

std::string EscapeUnprintable(std::string_view text, std::string_view keep) {
  return Filter(text, keep, [](std::string& out, char c) {
    out += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
  });
}

std::string ReplaceUnprintable(std::string_view text, std::string_view keep) {
  return Filter(text, keep, [](std::string& out, char) { out += '?'; });
}

}  // namespace cleanroom
