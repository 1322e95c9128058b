// image.json: the record of an image, written by us and checked all the same when it is read.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/image_ref.h"
#include "document/bounded_json.h"
#include "image/store.h"

namespace cleanroom::image {
namespace {

using Json = nlohmann::json;
constexpr int kVersion = 1;

}  // namespace

std::string ImageRecord::Pinned() const {
  if (refs.empty()) return digest;
  const Result<ImageRef> ref = ImageRef::Parse(refs.front());
  return ref ? ref->Pinned(digest) : digest;
}

std::string StoredRef(const ImageRef& ref) {
  std::string out = ref.Name();
  if (!ref.tag.empty()) return out + ":" + ref.tag;
  return ref.digest.empty() ? out + ":latest" : out;
}

std::string RecordToJson(const ImageRecord& record) {
  Json layers = Json::array();
  for (const registry::Descriptor& layer : record.layers) {
    layers.push_back(
        {{"digest", layer.digest}, {"media_type", layer.media_type}, {"size", layer.size}});
  }
  const registry::ImageConfig& config = record.config;
  const Json json = {
      {"version", kVersion},
      {"digest", record.digest},
      {"manifest_digest", record.manifest_digest},
      {"refs", record.refs},
      {"layers", std::move(layers)},
      {"disk_bytes", record.disk_bytes},
      {"pulled_at", record.pulled_at},
      {"config",
       {{"architecture", config.architecture},
        {"os", config.os},
        {"created", config.created},
        {"user", config.user},
        {"workdir", config.workdir},
        {"env", config.env},
        {"entrypoint", config.entrypoint},
        {"cmd", config.cmd},
        {"diff_ids", config.diff_ids}}},
  };
  // An image's strings may be any bytes; the record is JSON, which has only text.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<ImageRecord> RecordFromJson(std::string_view text) {
  const Json json = document::ParseBoundedJson(text);
  ImageRecord out;
  try {
    if (json.at("version").get<int>() != kVersion)
      return Err(ErrorCode::kDataCorrupt, "the record has an unknown version");
    json.at("digest").get_to(out.digest);
    json.at("manifest_digest").get_to(out.manifest_digest);
    json.at("refs").get_to(out.refs);
    json.at("disk_bytes").get_to(out.disk_bytes);
    json.at("pulled_at").get_to(out.pulled_at);
    for (const Json& layer : json.at("layers")) {
      out.layers.push_back({layer.at("media_type").get<std::string>(),
                            layer.at("digest").get<std::string>(),
                            layer.at("size").get<uint64_t>()});
    }
    const Json& config = json.at("config");
    config.at("architecture").get_to(out.config.architecture);
    config.at("os").get_to(out.config.os);
    config.at("created").get_to(out.config.created);
    config.at("user").get_to(out.config.user);
    config.at("workdir").get_to(out.config.workdir);
    config.at("env").get_to(out.config.env);
    config.at("entrypoint").get_to(out.config.entrypoint);
    config.at("cmd").get_to(out.config.cmd);
    config.at("diff_ids").get_to(out.config.diff_ids);
  } catch (const Json::exception& error) {
    return Err(ErrorCode::kDataCorrupt,
               fmt::format("the image's record is damaged: {}", error.what()));
  }
  if (!IsSha256Digest(out.digest))
    return Err(ErrorCode::kDataCorrupt, "the image's record has no digest");
  return out;
}

}  // namespace cleanroom::image
