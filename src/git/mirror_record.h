// What is kept beside a mirror: a small JSON file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::git {

struct MirrorRecord {
  std::string url;           // RemoteUrl::identity
  int64_t refreshed_at = 0;  // when the last fetch of all branches began; nanoseconds since 1970
  int64_t used_at = 0;       // seconds since 1970
  uint64_t bytes = 0;        // that it takes on the host

  std::filesystem::path path{};  // of the mirror, absolute; not in the file
};

std::string RecordToJson(const MirrorRecord& record);
Result<MirrorRecord> RecordFromJson(std::string_view json);

}  // namespace cleanroom::git
