// ImageRef: the name of an OCI image, `[HOST[:PORT]/]REPO[:TAG][@sha256:HEX]` (the grammar of the
// Distribution specification).
//
// A first component without `.`, `:` and other than `localhost` is no host, and the name is a short
// one. Short names belong to Docker Hub, so `alpine` is `docker.io/library/alpine` and `team/app`
// is `docker.io/team/app`; of images that came from no registry they belong to `localhost`. The
// host is lower-cased.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom {

inline constexpr std::string_view kDockerHub = "docker.io";
// The registry of images that exist on this machine alone.
inline constexpr std::string_view kLocalRegistry = "localhost";

struct ImageRef {
  std::string registry;    // "docker.io", "registry.example.com:5000", "[::1]:5000"
  std::string repository;  // "library/alpine"
  std::string tag;         // "" when not written
  std::string digest;      // "sha256:<64 hex>", or "" when not written

  // invalid_argument, saying what does not fit. Limits: registry 255, repository 255, tag 128
  // characters.
  static Result<ImageRef> Parse(std::string_view text,
                                std::string_view registry_of_short_names = kDockerHub);
  // The same, and invalid_argument with the command that finds the digest unless the reference
  // carries one.
  static Result<ImageRef> ParsePinned(std::string_view text);

  bool IsPinned() const { return !digest.empty(); }
  // The tag to ask for: "latest" when neither tag nor digest is written.
  std::string TagOrLatest() const;
  // "registry/repository".
  std::string Name() const;
  // "registry/repository@digest": the form that never changes its meaning.
  std::string Pinned(std::string_view pinned_digest) const;
  // The full reference as parsed, short names expanded.
  std::string ToString() const;

  auto operator<=>(const ImageRef&) const = default;
};

// Whether `text` is "sha256:" and 64 lower-case hexadecimal digits.
bool IsSha256Digest(std::string_view text);

}  // namespace cleanroom
