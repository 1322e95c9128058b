// JSON that somebody else wrote, or that may have been damaged: of bounded size and depth.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace cleanroom::document {

struct JsonLimits {
  size_t max_bytes = size_t{16} << 20;
  int max_depth = 64;  // deeper nesting would exhaust the parser's stack
};

// A discarded value (is_discarded()) when the text is no JSON, or passes a limit.
nlohmann::json ParseBoundedJson(std::string_view text, JsonLimits limits = {});

}  // namespace cleanroom::document
