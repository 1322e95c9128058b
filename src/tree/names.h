// Names in a folder.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::tree {

// One component: not empty, no '/', no NUL, neither "." nor "..", 255 bytes at most.
bool IsName(std::string_view name);

// The components of a relative path; "." and empty ones are dropped. invalid_argument for a path
// that begins with '/', has "..", a NUL or a name that is too long, or more than kMaxDepth
// components.
Result<std::vector<std::string_view>> SplitRelative(std::string_view path);
inline constexpr size_t kMaxDepth = 256;

// What is in the folder, sorted by bytes; resource_exhausted when that is more than `limit`.
Result<std::vector<std::string>> SortedNames(int folder_fd, size_t limit);

// A name that nobody has chosen: ".cleanroom-" and 16 hexadecimal digits.
std::string TemporaryName();

// The error of a system call, with errno's code, about a path that somebody else chose.
std::unexpected<Error> PathError(std::string_view call, std::string_view path);
// The same without a system call.
std::unexpected<Error> PathError(ErrorCode code, std::string_view path, std::string_view what);

}  // namespace cleanroom::tree
