// layer.json: written by us and checked all the same when it is read.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "document/bounded_json.h"
#include "layers/layer_store.h"

namespace cleanroom::layers {
namespace {

using Json = nlohmann::json;
constexpr int kVersion = 1;

}  // namespace

std::string RecordToJson(const LayerRecord& record) {
  const Json json = {{"version", kVersion},         {"kind", record.id.kind},
                     {"key", record.id.key},        {"of", record.notes.of},
                     {"facts", record.notes.facts}, {"disk_bytes", record.disk_bytes},
                     {"made_at", record.made_at}};
  // Names of branches may be any bytes; the record is JSON, which has only text.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<LayerRecord> RecordFromJson(std::string_view text) {
  const Json json = document::ParseBoundedJson(text);
  LayerRecord out;
  try {
    if (json.at("version").get<int>() != kVersion)
      return Err(ErrorCode::kDataCorrupt, "the layer's record has an unknown version");
    json.at("kind").get_to(out.id.kind);
    json.at("key").get_to(out.id.key);
    json.at("of").get_to(out.notes.of);
    json.at("facts").get_to(out.notes.facts);
    json.at("disk_bytes").get_to(out.disk_bytes);
    json.at("made_at").get_to(out.made_at);
  } catch (const Json::exception& error) {
    return Err(ErrorCode::kDataCorrupt,
               fmt::format("the layer's record is damaged: {}", error.what()));
  }
  return out;
}

}  // namespace cleanroom::layers
