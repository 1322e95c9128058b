// UTF-8 (RFC 3629).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cleanroom {

// The length of the valid sequence at the start of `text`, which is not empty; 0 when there is
// none.
size_t Utf8SequenceLength(std::string_view text);

// The text with '?' in place of each byte that belongs to no valid sequence.
std::string ToValidUtf8(std::string_view text);

}  // namespace cleanroom
