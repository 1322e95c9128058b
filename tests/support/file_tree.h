// Lists a tree of files, in a folder or in an ext4 image, in one comparable form.
#pragma once

#include <map>
#include <string>

namespace cleanroom::testing {

// By path ("" is the root, "etc/passwd"): type, permissions, owner, time with nanoseconds, number
// of links, link target or device or size and SHA-256, extended attributes, and which paths are one
// file, in one line.
using FileTree = std::map<std::string, std::string>;

FileTree ListFolder(const std::string& folder);
// Read with libext2fs; aborts when it cannot be.
FileTree ListExt4(const std::string& file);

// What differs, one path a line with both sides; empty when nothing does. At most 20 lines.
std::string Differences(const FileTree& expected, const FileTree& actual);

}  // namespace cleanroom::testing
