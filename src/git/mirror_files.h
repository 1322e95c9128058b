// The files of mirrors, by the path of each.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"
#include "git/mirror_record.h"

namespace cleanroom::git {

int64_t NowNanoseconds();  // since 1970
// That the files below take on the disk.
uint64_t FolderBytes(const std::filesystem::path& folder);

// "<mirror without .git>.<extension>"
std::filesystem::path Beside(const std::filesystem::path& mirror, const char* extension);

// An empty one when there is none that can be read.
MirrorRecord ReadRecord(const std::filesystem::path& mirror);
Result<void> WriteRecord(const std::filesystem::path& mirror, const MirrorRecord& record);
// The record's time of modification is when the mirror was last used.
void MarkUsed(const std::filesystem::path& mirror);

}  // namespace cleanroom::git
