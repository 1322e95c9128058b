// The parts of an HTTP message that both versions share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cleanroom::http {

// Lower-case names, in order, repeated names allowed.
using Headers = std::vector<std::pair<std::string, std::string>>;

// The first value of `name` (lower-case); empty when there is none.
inline std::string_view FindHeader(const Headers& headers, std::string_view name) {
  for (const auto& [candidate, value] : headers) {
    if (candidate == name) return value;
  }
  return {};
}

struct RequestHead {
  std::string method;
  std::string path;  // without the query
  Headers headers;
};

enum class Ending { kMore, kEnd };

}  // namespace cleanroom::http
