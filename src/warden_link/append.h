// Appending to a record, whole or not at all: what is torn must not be taken for what was written.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace cleanroom::warden_link {

// Writes the parts at `size`, the file's end. When not all of it could be written the file is cut
// back to `size`: resource_exhausted, with `what` saying what was being done.
Result<void> AppendWhole(int fd, int64_t size, std::span<const iovec> parts, std::string_view what);

}  // namespace cleanroom::warden_link
