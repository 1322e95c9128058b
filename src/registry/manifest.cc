#include "registry/manifest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/image_ref.h"
#include "document/bounded_json.h"

namespace cleanroom::registry {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxStrings = 1024;           // env, cmd, entrypoint: items each
constexpr size_t kMaxStringBytes = 128 << 10;  // one of those items; Linux takes no longer argument
constexpr size_t kMaxIndexEntries = 1024;
constexpr size_t kMaxUrls = 8;  // of one foreign layer

std::unexpected<Error> Corrupt(std::string_view what) {
  return Err(ErrorCode::kDataCorrupt, std::string(what));
}

Result<Json> ParseObject(std::string_view text, const Limits& limits, std::string_view what) {
  if (text.size() > limits.max_manifest_bytes) {
    return Corrupt(fmt::format("the {} is larger than {} bytes", what, limits.max_manifest_bytes));
  }
  Json json = document::ParseBoundedJson(text);
  if (json.is_discarded()) return Corrupt(fmt::format("the {} is not JSON", what));
  return json;
}

const Json* Find(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

// Absent is empty; another type is an error.
Result<std::string> Text(const Json& object, const char* key, std::string_view what) {
  const Json* value = Find(object, key);
  if (value == nullptr) return std::string();
  if (!value->is_string())
    return Corrupt(fmt::format("the {} has a '{}' that is not a string", what, key));
  auto text = value->get<std::string>();
  if (text.size() > kMaxStringBytes || text.find('\0') != std::string::npos) {
    return Corrupt(fmt::format("the {} has a '{}' that is too long or has a NUL", what, key));
  }
  return text;
}

Result<std::vector<std::string>> Texts(const Json& object, const char* key, std::string_view what,
                                       size_t limit) {
  std::vector<std::string> out;
  const Json* value = Find(object, key);
  if (value == nullptr) return out;
  if (!value->is_array() || value->size() > limit) {
    return Corrupt(fmt::format("the {} has a '{}' that is not a list of at most {} strings", what,
                               key, limit));
  }
  for (const Json& item : *value) {
    if (!item.is_string())
      return Corrupt(fmt::format("the {} has a '{}' with an item that is no string", what, key));
    auto text = item.get<std::string>();
    if (text.size() > kMaxStringBytes || text.find('\0') != std::string::npos) {
      return Corrupt(
          fmt::format("the {} has a '{}' with an item that is too long or has a NUL", what, key));
    }
    out.push_back(std::move(text));
  }
  return out;
}

Result<Descriptor> ParseDescriptor(const Json& json, std::string_view what, const Limits& limits) {
  Descriptor out;
  CR_TRY_ASSIGN(out.media_type, Text(json, "mediaType", what));
  CR_TRY_ASSIGN(out.digest, Text(json, "digest", what));
  if (!IsSha256Digest(out.digest)) {
    return Corrupt(fmt::format("the {} has the digest '{}', which is not sha256:<64 hex>", what,
                               out.digest.substr(0, 80)));
  }
  const Json* size = Find(json, "size");
  if (size == nullptr || !size->is_number_unsigned()) {
    return Corrupt(fmt::format("the {} {} has no size", what, out.digest));
  }
  out.size = size->get<uint64_t>();
  if (out.size > limits.max_blob_bytes) {
    return Err(ErrorCode::kResourceExhausted, fmt::format("the {} {} is larger than {} bytes", what,
                                                          out.digest, limits.max_blob_bytes));
  }
  return out;
}

bool IsForeign(std::string_view media_type) {
  return media_type.contains(".nondistributable.") || media_type.contains(".foreign.");
}

Result<Document> ParseIndex(const Json& entries, const Limits& limits) {
  Document out;
  if (!entries.is_array() || entries.size() > kMaxIndexEntries)
    return Corrupt("the index has no list of manifests");
  for (const Json& entry : entries) {
    CR_TRY_ASSIGN(Descriptor descriptor, ParseDescriptor(entry, "manifest in the index", limits));
    const Json* platform = Find(entry, "platform");
    if (platform == nullptr) {
      // The specification allows it; the config will tell the platform.
      out.candidates.push_back(std::move(descriptor));
      continue;
    }
    CR_TRY_ASSIGN(const std::string os, Text(*platform, "os", "platform"));
    CR_TRY_ASSIGN(const std::string architecture, Text(*platform, "architecture", "platform"));
    out.platforms.push_back(fmt::format("{}/{}", os, architecture));
    if (os == kOs && architecture == kArchitecture) out.candidates.push_back(std::move(descriptor));
  }
  return out;
}

Json ToJson(const Descriptor& descriptor) {
  return {{"mediaType", descriptor.media_type},
          {"size", descriptor.size},
          {"digest", descriptor.digest}};
}

std::string OtherPlatform() {
  return fmt::format("Use an image that is made for {}/{}", kOs, kArchitecture);
}

}  // namespace

Result<Document> ParseDocument(std::string_view text, const Limits& limits) {
  CR_TRY_ASSIGN(const Json json, ParseObject(text, limits, "manifest"));
  if (const Json* manifests = Find(json, "manifests")) return ParseIndex(*manifests, limits);
  const Json* config = Find(json, "config");
  const Json* layers = Find(json, "layers");
  if (config == nullptr || layers == nullptr || !layers->is_array()) {
    const Json* version = Find(json, "schemaVersion");
    if (version != nullptr && *version == 1) {
      return Err(ErrorCode::kFailedPrecondition,
                 "the image has a schema 1 manifest, which is obsolete; push it again with a "
                 "current tool");
    }
    return Corrupt("the manifest has neither manifests nor config and layers");
  }
  if (layers->size() > limits.max_layers) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("the image has {} layers; at most {} are taken", layers->size(),
                           limits.max_layers));
  }
  Manifest manifest;
  CR_TRY_ASSIGN(manifest.config, ParseDescriptor(*config, "config", limits));
  if (manifest.config.size > limits.max_manifest_bytes) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("the config {} is larger than {} bytes", manifest.config.digest,
                           limits.max_manifest_bytes));
  }
  for (const Json& layer : *layers) {
    CR_TRY_ASSIGN(Descriptor descriptor, ParseDescriptor(layer, "layer", limits));
    CR_TRY(CheckLayerMediaType(descriptor.media_type));
    if (IsForeign(descriptor.media_type)) {
      CR_TRY_ASSIGN(descriptor.urls, Texts(layer, "urls", "layer", kMaxUrls));
    }
    manifest.layers.push_back(std::move(descriptor));
  }
  Document out;
  out.manifest = std::move(manifest);
  return out;
}

Result<ImageConfig> ParseConfig(std::string_view text, const Limits& limits) {
  constexpr std::string_view kWhat = "image config";
  CR_TRY_ASSIGN(const Json json, ParseObject(text, limits, kWhat));
  if (!json.is_object()) return Corrupt("the image config is not an object");
  ImageConfig out;
  CR_TRY_ASSIGN(out.architecture, Text(json, "architecture", kWhat));
  CR_TRY_ASSIGN(out.os, Text(json, "os", kWhat));
  CR_TRY_ASSIGN(out.created, Text(json, "created", kWhat));
  if (const Json* config = Find(json, "config")) {
    CR_TRY_ASSIGN(out.user, Text(*config, "User", kWhat));
    CR_TRY_ASSIGN(out.workdir, Text(*config, "WorkingDir", kWhat));
    CR_TRY_ASSIGN(out.env, Texts(*config, "Env", kWhat, kMaxStrings));
    CR_TRY_ASSIGN(out.entrypoint, Texts(*config, "Entrypoint", kWhat, kMaxStrings));
    CR_TRY_ASSIGN(out.cmd, Texts(*config, "Cmd", kWhat, kMaxStrings));
  }
  for (const std::string& pair : out.env) {
    if (pair.find('=') == std::string::npos || pair.starts_with('=')) {
      return Corrupt(
          fmt::format("the image config has the environment entry '{}', which is not KEY=VALUE",
                      pair.substr(0, 80)));
    }
  }
  if (const Json* rootfs = Find(json, "rootfs")) {
    CR_TRY_ASSIGN(out.diff_ids, Texts(*rootfs, "diff_ids", kWhat, limits.max_layers));
  }
  for (const std::string& diff_id : out.diff_ids) {
    if (!IsSha256Digest(diff_id))
      return Corrupt(fmt::format("the image config has the diff id '{}'", diff_id.substr(0, 80)));
  }
  return out;
}

Result<void> CheckConfig(const ImageConfig& config, const Manifest& manifest) {
  if (config.diff_ids.size() != manifest.layers.size()) {
    return Corrupt(fmt::format("the image config {} names {} layers and the manifest has {}",
                               manifest.config.digest, config.diff_ids.size(),
                               manifest.layers.size()));
  }
  if ((!config.architecture.empty() && config.architecture != kArchitecture) ||
      (!config.os.empty() && config.os != kOs)) {
    return Err(Error(ErrorCode::kFailedPrecondition,
                     fmt::format("the image is for {}/{}; sandboxes run {}/{}", config.os,
                                 config.architecture, kOs, kArchitecture))
                   .Remedy(OtherPlatform()));
  }
  return {};
}

std::unexpected<Error> NoVariant(const Document& document) {
  return Err(Error(ErrorCode::kFailedPrecondition,
                   fmt::format("the image has no variant for {}/{}, only for: {}", kOs,
                               kArchitecture, fmt::join(document.platforms, ", ")))
                 .Remedy(OtherPlatform()));
}

Result<void> CheckLayerMediaType(std::string_view media_type) {
  // OCI image-spec "layer.md" and Docker schema 2; nondistributable layers are ordinary bytes when
  // they are served.
  for (const std::string_view known :
       {"application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}) {
    if (media_type == known) return {};
  }
  return Err(
      ErrorCode::kFailedPrecondition,
      fmt::format(
          "the image has a layer of type '{}', which is not a file system layer this program knows",
          media_type.substr(0, 200)));
}

Result<std::vector<DockerArchiveImage>> ParseDockerArchive(std::string_view text,
                                                           const Limits& limits) {
  constexpr std::string_view kWhat = "manifest.json";
  CR_TRY_ASSIGN(const Json json, ParseObject(text, limits, kWhat));
  if (!json.is_array() || json.size() > kMaxIndexEntries)
    return Corrupt("manifest.json is not a list of images");
  std::vector<DockerArchiveImage> out;
  for (const Json& item : json) {
    DockerArchiveImage image;
    CR_TRY_ASSIGN(image.config, Text(item, "Config", kWhat));
    CR_TRY_ASSIGN(image.repo_tags, Texts(item, "RepoTags", kWhat, kMaxStrings));
    CR_TRY_ASSIGN(image.layers, Texts(item, "Layers", kWhat, limits.max_layers));
    if (image.config.empty()) return Corrupt("manifest.json has an image without Config");
    out.push_back(std::move(image));
  }
  return out;
}

Result<std::vector<LayoutEntry>> ParseLayoutIndex(std::string_view text, const Limits& limits) {
  CR_TRY_ASSIGN(const Json json, ParseObject(text, limits, "index.json"));
  const Json* manifests = Find(json, "manifests");
  if (manifests == nullptr || !manifests->is_array() || manifests->size() > kMaxIndexEntries) {
    return Corrupt("index.json has no list of manifests");
  }
  std::vector<LayoutEntry> out;
  for (const Json& item : *manifests) {
    LayoutEntry entry;
    CR_TRY_ASSIGN(entry.descriptor, ParseDescriptor(item, "manifest in index.json", limits));
    if (const Json* annotations = Find(item, "annotations")) {
      CR_TRY_ASSIGN(entry.ref_name,
                    Text(*annotations, "org.opencontainers.image.ref.name", "annotations"));
    }
    out.push_back(std::move(entry));
  }
  return out;
}

std::string MakeDockerManifest(const Manifest& manifest) {
  // The order of keys is part of the digest.
  const auto descriptor = [](const Descriptor& d) {
    return fmt::format(R"({{"mediaType":"{}","size":{},"digest":"{}"}})", d.media_type, d.size,
                       d.digest);
  };
  std::string layers;
  for (const Descriptor& layer : manifest.layers)
    layers += (layers.empty() ? "" : ",") + descriptor(layer);
  return fmt::format(
      R"({{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{},"layers":[{}]}})",
      descriptor(manifest.config), layers);
}

std::string MakeRootfsConfig(std::string_view diff_id) {
  const Json json = {
      {"architecture", kArchitecture},
      {"os", kOs},
      {"config",
       {{"Env", {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}},
        {"Cmd", {"/bin/sh"}}}},
      {"rootfs", {{"type", "layers"}, {"diff_ids", Json::array({diff_id})}}},
  };
  return json.dump();
}

std::string MakeOciManifest(const Manifest& manifest) {
  Json layers = Json::array();
  for (const Descriptor& layer : manifest.layers) layers.push_back(ToJson(layer));
  const Json json = {{"schemaVersion", 2},
                     {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
                     {"config", ToJson(manifest.config)},
                     {"layers", std::move(layers)}};
  return json.dump();
}

}  // namespace cleanroom::registry
