// Text from a guest (console lines, reasons) made fit for terminals, JSON and protobuf strings.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cleanroom::server {

// The last `max_bytes` of `text` as valid UTF-8: what is not, and control characters other than tab
// and newline, becomes '?'. Carriage returns are dropped.
std::string PlainText(std::string_view text, size_t max_bytes);

}  // namespace cleanroom::server
