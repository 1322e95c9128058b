// The text encodings that the RPC protocols put binary data and messages into.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cleanroom::rpc {

enum class Padding { kNone, kEquals };

// Base64 with the standard alphabet.
std::string Base64Encode(std::string_view bytes, Padding padding);
// With or without padding; nothing when the text is no base64.
std::optional<std::string> Base64Decode(std::string_view text);

// grpc-message: percent-encoding of all but printable ASCII. Decoding never fails; a broken escape
// stays.
std::string PercentEncode(std::string_view text);
std::string PercentDecode(std::string_view text);

}  // namespace cleanroom::rpc
