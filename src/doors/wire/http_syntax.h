// What HTTP/1 and HTTP/2 requests are made of: tokens, field values, hosts (RFC 9110).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cleanroom::doors::wire {

inline constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

bool IsTokenChar(uint8_t c);                  // RFC 9110 5.6.2
bool IsToken(std::string_view text);          // at least one such character
bool IsFieldValue(std::string_view text);     // visible, space, tab and bytes from 0x80: 5.5
bool IsRequestTarget(std::string_view text);  // visible ASCII but `#`, at least one
bool SameIgnoringCase(std::string_view a, std::string_view b);
std::string_view TrimSpace(std::string_view text);  // of space and tab
// A whole number of at most 17 digits and nothing else: a Content-Length.
std::optional<uint64_t> ParseLength(std::string_view text);

// What a Host field or an :authority names.
struct Authority {
  std::string host;   // as written; an IPv6 address without its brackets
  uint16_t port = 0;  // 0: none
  // Equal but for the case of letters; no port differs from any.
  bool SameAs(const Authority& other) const;
};
// host[:port] (RFC 9110 7.2) and no more: the host of letters, digits, `.`, `-` and `_`, at most
// 255, or an IPv6 address in brackets; a port within 1 and 65535.
std::optional<Authority> ParseAuthority(std::string_view text);

}  // namespace cleanroom::doors::wire
