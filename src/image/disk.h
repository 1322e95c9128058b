// Empty writable disks: the upper layers of sandboxes.
//
// ext4, formatted once per size and kept in the cache folder; a new disk is a sparse copy (a
// reflink where the host's file system has them), which takes milliseconds. No journal: the disk is
// thrown away with its sandbox, and a snapshot is taken of a quiesced file system. No checksums and
// no uninitialised groups: nothing is left for the guest to initialise in the background, which
// would fill the sparse file.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"

namespace cleanroom::image {

// Makes the file `destination` (it must not exist) of `size_bytes`, rounded down to 4 KiB; at least
// 16 MiB, at most 8 TiB (invalid_argument). Any number of threads and processes may share
// `cache_folder`.
Result<void> MakeEmptyDisk(const std::filesystem::path& cache_folder, uint64_t size_bytes,
                           const std::filesystem::path& destination);

// Makes `destination` (it must not exist) a sparse copy of the disk `source`, which stays as it is.
Result<void> CopyDisk(const std::filesystem::path& source,
                      const std::filesystem::path& destination);

}  // namespace cleanroom::image
