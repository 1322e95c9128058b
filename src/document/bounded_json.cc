#include "document/bounded_json.h"

#include <nlohmann/json.hpp>

namespace cleanroom::document {

nlohmann::json ParseBoundedJson(std::string_view text) {
  using Json = nlohmann::json;
  constexpr int kMaxDepth = 64;
  bool too_deep = false;
  Json json = Json::parse(
      text,
      [&too_deep](int depth, Json::parse_event_t, Json&) {
        too_deep = too_deep || depth > kMaxDepth;
        return !too_deep;
      },
      /*allow_exceptions=*/false);
  if (too_deep) return Json(Json::value_t::discarded);
  return json;
}

}  // namespace cleanroom::document
