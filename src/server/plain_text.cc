#include "server/plain_text.h"

#include <cstdint>

namespace cleanroom::server {
namespace {

// The length of the valid UTF-8 sequence (RFC 3629) at the start of `text`; 0 when there is none.
size_t SequenceLength(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  size_t length = 0;
  uint32_t value = 0;
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
    value = lead & 0x1f;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    value = lead & 0x0f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    value = lead & 0x07;
  }
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if ((byte & 0xc0) != 0x80) return 0;
    value = (value << 6) | (byte & 0x3f);
  }
  const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  // C1 controls act on terminals as escape sequences do.
  const bool control = value >= 0x80 && value < 0xa0;
  return overlong || surrogate || control || value > 0x10ffff ? 0 : length;
}

}  // namespace

std::string PlainText(std::string_view text, size_t max_bytes) {
  if (text.size() > max_bytes) text.remove_prefix(text.size() - max_bytes);
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    const char first = text[0];
    const bool control = length == 1 && (static_cast<uint8_t>(first) < 0x20 || first == 0x7f);
    if (first == '\r') {
      text.remove_prefix(1);
    } else if (length == 0 || (control && first != '\n' && first != '\t')) {
      out += '?';
      text.remove_prefix(1);
    } else {
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return out;
}

}  // namespace cleanroom::server
