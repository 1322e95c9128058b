// Text that somebody else chose (a guest, an image, a registry), made fit for terminals, tables, JSON
// and protobuf strings.
//
// What may be shown is UTF-8 (RFC 3629) but control characters (C0, DEL, and C1, which terminals
// obey as they do escape sequences) and characters that reorder what stands around them (Unicode's
// Bidi_Control), with which a text can look like another.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cleanroom {

// The bytes of the character at the start of `text`, which is not empty; 0 when it may not be
// shown.
size_t PrintableLength(std::string_view text);

// The text with \xNN in place of each byte that may not be shown. Those in `keep` stay.
std::string EscapeUnprintable(std::string_view text, std::string_view keep = {});

// The same with '?' in place of each.
std::string ReplaceUnprintable(std::string_view text, std::string_view keep = {});

}  // namespace cleanroom
