// The head of one HTTP/1 request, whole, read strictly (RFC 9112 2 to 6): what decides to which
// host it goes and where it ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "doors/wire/http_syntax.h"

namespace cleanroom::doors::wire {

struct Http1Head {
  std::optional<Authority> host;  // none: there is no Host, or an empty one
  uint64_t length = 0;            // of the body, unless chunked
  bool chunked = false;
  bool upgrade = false;  // asks for another protocol after it, HTTP/2 aside
  // Offers to go on in HTTP/2 (`Upgrade: h2c`, HTTP2-Settings), as several clients do by default.
  bool offers_http2 = false;
};

struct Http1Fault {
  enum class Kind : uint8_t { kMalformed, kUnsupported };
  Kind kind = Kind::kMalformed;
  std::string problem;
};

// `head` ends with its empty line; at most `max_fields` fields.
std::expected<Http1Head, Http1Fault> ParseHttp1Head(std::string_view head, size_t max_fields);

// The same head without that offer, as a proxy may pass it on (RFC 9110 7.6.1, 7.8): the fields and
// what Connection says of them go, the rest stays as it is. `head` was parsed.
std::string WithoutHttp2Offer(std::string_view head);

// The trailer section of a chunked body, with its empty line. None of its fields may be one that
// belongs in a head.
std::expected<void, Http1Fault> ParseHttp1Trailers(std::string_view trailers, size_t max_fields);

}  // namespace cleanroom::doors::wire
