// The head of a git bundle (gitformat-bundle(5), versions 2 and 3): what it builds on, and what it has.
// Hostile bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace cleanroom::repository {

inline constexpr size_t kMaxBundleHeader = 1 << 20;  // bytes
inline constexpr size_t kMaxPrerequisites = 1000;

struct BundleHeader {
  std::string object_format = "sha1";      // or "sha256"
  std::vector<std::string> prerequisites;  // full ids of commits
  std::string tip;                         // the full id that its one ref is at
  size_t pack = 0;                         // where its pack begins
};

// data_corrupt for what is no bundle, has several refs or lacks objects on purpose (a filter);
// resource_exhausted beyond the limits.
Result<BundleHeader> ParseBundleHeader(std::string_view bytes);

}  // namespace cleanroom::repository
