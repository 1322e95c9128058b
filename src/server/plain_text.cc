#include "server/plain_text.h"

#include "base/printable.h"

namespace cleanroom::server {

std::string PlainText(std::string_view text, size_t max_bytes) {
  if (text.size() > max_bytes) text.remove_prefix(text.size() - max_bytes);
  std::string out = ReplaceUnprintable(text, "\n\t\r");
  std::erase(out, '\r');
  return out;
}

}  // namespace cleanroom::server
