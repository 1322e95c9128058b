#include "server/plain_text.h"

#include <cstdint>

#include "base/utf8.h"

namespace cleanroom::server {
namespace {

// Of a sequence that may be shown; 0 when there is none. C1 controls act on terminals as escape
// sequences do.
size_t SequenceLength(std::string_view text) {
  const size_t length = Utf8SequenceLength(text);
  const bool control = length == 2 && text[0] == '\xc2' && static_cast<uint8_t>(text[1]) < 0xa0;
  return control ? 0 : length;
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
