#include "document/bounded_json.h"

#include <nlohmann/json.hpp>

namespace cleanroom::document {

nlohmann::json ParseBoundedJson(std::string_view text, JsonLimits limits) {
  using Json = nlohmann::json;
  if (text.size() > limits.max_bytes) return Json(Json::value_t::discarded);
  bool too_deep = false;
  Json json = Json::parse(
      text,
      [&too_deep, &limits](int depth, Json::parse_event_t, Json&) {
        too_deep = too_deep || depth > limits.max_depth;
        return !too_deep;
      },
      /*allow_exceptions=*/false);
  if (too_deep) return Json(Json::value_t::discarded);
  return json;
}

}  // namespace cleanroom::document
