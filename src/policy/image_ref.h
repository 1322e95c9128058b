// ImageRef: the name of an OCI image, `[HOST[:PORT]/]REPO[:TAG][@sha256:HEX]` (the grammar of the
// Distribution specification).
//
// A first component without `.`, `:` and other than `localhost` is no host: such short names belong
// to Docker Hub, so `alpine` is `docker.io/library/alpine` and `team/app` is `docker.io/team/app`.
// The host is lower-cased.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::policy {

struct ImageRef {
  std::string registry;    // "docker.io", "registry.example.com:5000", "[::1]:5000"
  std::string repository;  // "library/alpine"
  std::string tag;         // "" when not written
  std::string digest;      // "sha256:<64 hex>", or "" when not written

  // invalid_argument, saying what does not fit. Limits: registry 255, repository 255, tag 128
  // characters.
  static Result<ImageRef> Parse(std::string_view text);
  // The same, and invalid_argument with the command that finds the digest unless the reference
  // carries one.
  static Result<ImageRef> ParsePinned(std::string_view text);

  bool IsPinned() const { return !digest.empty(); }
  // The tag to ask for: "latest" when neither tag nor digest is written.
  std::string TagOrLatest() const;
  // "registry/repository".
  std::string Name() const;
  // The full reference as parsed, short names expanded.
  std::string ToString() const;

  auto operator<=>(const ImageRef&) const = default;
};

// Whether `text` is "sha256:" and 64 lower-case hexadecimal digits.
bool IsSha256Digest(std::string_view text);

}  // namespace cleanroom::policy
