// Paths that a sandbox names, before anything is done with them: what may be one of a work tree's
// files, and what git, or a file system that it is used on, would take for its own folder. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace cleanroom::workspace {

inline constexpr size_t kMaxPathBytes = 4095;
inline constexpr size_t kMaxNameBytes = 255;
inline constexpr size_t kMaxPathDepth = 256;

// ".git" in a spelling that any file system that git knows takes for it: in capitals, with what
// HFS+ ignores in between, with NTFS's trailing dots, spaces, streams and short name ("git~1").
bool IsDotGit(std::string_view name);

// Why `path` may not be written below the top of a work tree; nothing when it may. It may when it is
// relative, in its plainest form ("a/b": no empty part, no "." or "..", no '/' at the end), within the limits
// above, UTF-8 without NUL, and no part of it IsDotGit.
std::optional<std::string_view> WhyNotInTree(std::string_view path);

// The same for what a symbolic link at `path` (which may be in the tree) points to: where the target
// is absolute, climbs above the top or back up ("a/../b"), or comes by a .git.
std::optional<std::string_view> WhyNotTarget(std::string_view path, std::string_view target);

// The folder that holds `path`: "" at the top.
std::string_view ParentOf(std::string_view path);

}  // namespace cleanroom::workspace
