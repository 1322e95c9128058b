// A reference to an image: HOST/REPOSITORY[:TAG][@sha256:<64 hex>].
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::image {

struct ImageRef {
  std::string host;        // as written, with its port: "registry.example:5000", "[::1]:5000"
  std::string repository;  // "library/debian"
  std::string tag;         // empty when none was written
  std::string digest;      // "sha256:<64 hex>", empty when none was written

  bool operator==(const ImageRef&) const = default;
};

// What a name without a host means. Images that exist only on this machine live under "localhost".
inline constexpr std::string_view kLocalHost = "localhost";

// Parses a reference. A first component that has no '.' or ':' and is not "localhost" is part of
// the repository and the host is then `default_host`; an empty default_host makes that
// invalid_argument. At most 512 bytes; the repository is lower-case as the Distribution
// specification says.
Result<ImageRef> ParseImageRef(std::string_view text, std::string_view default_host = {});

// The reference as one would type it.
std::string ToString(const ImageRef& ref);

// HOST/REPOSITORY@DIGEST: the form that never changes its meaning.
std::string PinnedRef(const ImageRef& ref, std::string_view digest);

}  // namespace cleanroom::image
