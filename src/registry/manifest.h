// The JSON documents of an image: index (manifest list), manifest, config. Pure parsing of hostile
// bytes.
//
// OCI image-spec v1 and Docker "Image Manifest Version 2, Schema 2" differ only in their media
// types. Every parser here takes any bytes, answers data_corrupt when they are not what they should
// be, and never reads more than Limits::max_manifest_bytes (the callers' bound) and
// Limits::max_layers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "registry/limits.h"

namespace cleanroom::registry {

// What images are made for here.
inline constexpr std::string_view kOs = "linux";
inline constexpr std::string_view kArchitecture = "amd64";

struct Descriptor {
  std::string media_type;
  std::string digest;  // valid: IsSha256Digest
  uint64_t size = 0;
  // Of a foreign (nondistributable) layer: where it may be when the registry does not have it.
  std::vector<std::string> urls = {};
};

struct Manifest {
  Descriptor config;
  std::vector<Descriptor> layers;  // lowest first
};

// What of the config matters to running a command, as the image's author wrote it.
struct ImageConfig {
  std::string architecture;
  std::string os;
  std::string created;           // RFC 3339, may be empty
  std::string user;              // "", "1000:1000", "name", …: resolved inside the guest
  std::string workdir;           // "" means /
  std::vector<std::string> env;  // KEY=VALUE
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> diff_ids;  // digests of the uncompressed layers, lowest first
};

// A manifest, or an index of manifests, told apart by what is in it (media types in the wild are
// unreliable).
struct Document {
  std::optional<Manifest> manifest;
  std::vector<Descriptor> candidates;  // of an index: the manifests for kOs/kArchitecture
  std::vector<std::string> platforms;  // of an index: what it has, for messages
};

Result<Document> ParseDocument(std::string_view json, const Limits& limits);
Result<ImageConfig> ParseConfig(std::string_view json, const Limits& limits);

// Whether manifest and config belong together: as many diff ids as layers, and the platform is ours
// (failed_precondition when it is not).
Result<void> CheckConfig(const ImageConfig& config, const Manifest& manifest);

// failed_precondition: a document without a manifest that this host's sandboxes could run.
std::unexpected<Error> NoVariant(const Document& document);

// failed_precondition for media types that are not file system layers (encrypted, foreign,
// attestations).
Result<void> CheckLayerMediaType(std::string_view media_type);

// manifest.json of a docker-archive.
struct DockerArchiveImage {
  std::string config;                  // path of the config in the archive
  std::vector<std::string> repo_tags;  // "debian:12"
  std::vector<std::string> layers;     // paths, lowest first
};
Result<std::vector<DockerArchiveImage>> ParseDockerArchive(std::string_view json,
                                                           const Limits& limits);

// index.json of an OCI layout. `ref_name` is the annotation org.opencontainers.image.ref.name.
struct LayoutEntry {
  Descriptor descriptor;
  std::string ref_name;
};
Result<std::vector<LayoutEntry>> ParseLayoutIndex(std::string_view json, const Limits& limits);

// The schema 2 manifest that `docker save` archives stand for, byte for byte as containers/image
// (skopeo) derives it.
std::string MakeDockerManifest(const Manifest& manifest);
// Config and manifest of an image made of one plain tar.
std::string MakeRootfsConfig(std::string_view diff_id);
std::string MakeOciManifest(const Manifest& manifest);

}  // namespace cleanroom::registry
