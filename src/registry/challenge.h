// The WWW-Authenticate header of registries (RFC 9110 section 11.6.1, Distribution "token"
// specification).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace cleanroom::registry {

struct Challenge {
  std::string scheme;                         // lower-case: "bearer", "basic"
  std::map<std::string, std::string> params;  // names in lower case
};

// The first challenge of one header value. Nothing when it is malformed; hostile bytes are expected
// here. At most 16 parameters are kept.
std::optional<Challenge> ParseChallenge(std::string_view header);

}  // namespace cleanroom::registry
