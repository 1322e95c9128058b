// One file or link of a sandbox's tar, written where it is staged.
#pragma once

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

// The tar is not the one that was read before.
std::unexpected<Error> AnotherTar();

}  // namespace cleanroom::workspace
