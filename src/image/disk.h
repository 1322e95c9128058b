// Empty writable disks: the upper layers of sandboxes.
//
// ext4, formatted in place: of a size of 8 GiB some 32 KiB are written, of 1 TiB 1 MiB, within
// milliseconds. Groups that nothing lies in have neither bitmaps nor inodes on disk (uninit_bg),
// and are marked as zeroed, which in a new file they are: the guest has nothing to initialise in
// the background, which would fill the sparse file. No journal: the disk is thrown away with its
// sandbox, and a snapshot is taken of a quiesced file system.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"

namespace cleanroom::image {

// Makes the file `destination` (it must not exist) of `size_bytes`, rounded down to 4 KiB; at least
// 16 MiB, at most 8 TiB (invalid_argument).
Result<void> MakeEmptyDisk(uint64_t size_bytes, const std::filesystem::path& destination);

// Makes `destination` (it must not exist) a sparse copy of the disk `source`, which stays as it is.
Result<void> CopyDisk(const std::filesystem::path& source,
                      const std::filesystem::path& destination);

}  // namespace cleanroom::image
