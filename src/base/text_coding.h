// Binary data as text: base64 (RFC 4648), hexadecimal, percent-encoding.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cleanroom {

enum class Padding { kNone, kEquals };

// Base64 with the standard alphabet.
std::string Base64Encode(std::string_view bytes, Padding padding);
// With or without padding; nothing when the text is no base64.
std::optional<std::string> Base64Decode(std::string_view text);

// Two lower-case digits for each byte.
std::string HexEncode(std::string_view bytes);
// Digits in either case; nothing when the text is not all pairs of them.
std::optional<std::string> HexDecode(std::string_view text);

// As gRPC's grpc-message: percent-encoding of all but printable ASCII. Decoding never fails; a
// broken escape stays.
std::string PercentEncode(std::string_view text);
std::string PercentDecode(std::string_view text);

}  // namespace cleanroom
