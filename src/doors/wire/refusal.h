// What a refused client is told in its own protocol.
#pragma once

#include <string>
#include <string_view>

namespace cleanroom::doors::wire {

// A whole HTTP/1.1 response: 403, `X-Cleanroom-Reason-Code: code`, a plain text body "code: text",
// Connection: close. `status` is "403 Forbidden", "502 Bad Gateway", ...
std::string HttpRefusal(std::string_view status, std::string_view code, std::string_view text);

// A TLS record with one fatal alert (RFC 8446 6.2): access_denied (49), unrecognized_name (112),
// decode_error (50) or internal_error (80).
std::string TlsAlert(unsigned char description);

}  // namespace cleanroom::doors::wire
