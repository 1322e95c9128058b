// JSON from outside, of bounded depth. How long it may be is its reader's to say.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace cleanroom::document {

// A discarded value when the text is no JSON, or nests deeper than 64.
nlohmann::json ParseBoundedJson(std::string_view text);

}  // namespace cleanroom::document
