// Reads one small file of a file system that our writer made, without mounting it.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"

namespace cleanroom::ext4 {

// `path` is absolute; symbolic links are followed inside the file system. not_found when there is
// no such file, invalid_argument for anything but a regular file, resource_exhausted when it has
// more than `max_bytes`.
Result<std::string> ReadFile(const std::filesystem::path& filesystem, const std::string& path,
                             size_t max_bytes);

}  // namespace cleanroom::ext4
