#include "git/mirror_record.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "document/bounded_json.h"

namespace cleanroom::git {
namespace {

using Json = nlohmann::json;
constexpr int kVersion = 1;

}  // namespace

std::string RecordToJson(const MirrorRecord& record) {
  const Json json = {{"version", kVersion},
                     {"url", record.url},
                     {"refreshed_at", record.refreshed_at},
                     {"used_at", record.used_at},
                     {"bytes", record.bytes}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<MirrorRecord> RecordFromJson(std::string_view text) {
  const Json json = document::ParseBoundedJson(text);
  MirrorRecord out;
  try {
    if (json.at("version").get<int>() != kVersion)
      return Err(ErrorCode::kDataCorrupt, "the mirror's record has an unknown version");
    json.at("url").get_to(out.url);
    json.at("refreshed_at").get_to(out.refreshed_at);
    json.at("used_at").get_to(out.used_at);
    json.at("bytes").get_to(out.bytes);
  } catch (const Json::exception& error) {
    return Err(ErrorCode::kDataCorrupt,
               fmt::format("the mirror's record is damaged: {}", error.what()));
  }
  return out;
}

}  // namespace cleanroom::git
