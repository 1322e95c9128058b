// The files and links of a sandbox's tar, written where they are staged.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "archive/tar_reader.h"
#include "base/result.h"
#include "workspace/incoming.h"

namespace cleanroom::workspace {

// `entry` is the tar's current one, `file` what ReadIncoming made of it. Makes `name` in `folder`,
// in which there must be none: with git's mode, and the file's time, but not in the future.
// data_corrupt when it is not what `file` says.
Result<void> UnpackFile(archive::TarReader& tar, const archive::TarEntry& entry,
                        const IncomingFile& file, int folder, const std::string& name);

// Whether the entry was one that is wanted; then it has been unpacked.
using UnpackFn =
    std::function<Result<bool>(archive::TarReader& tar, const archive::TarEntry& entry)>;

// Calls `unpack` for each file and link of the tar, from its beginning. data_corrupt unless `count` of
// them were wanted: then it is not the tar that was read before.
Result<void> UnpackEach(int tar, size_t count, const UnpackFn& unpack);

}  // namespace cleanroom::workspace
