// The inode numbers that a tree's nodes get. They are a function of the names alone, so what is
// written into a file of the tree (a git index) can name them before the file system is finished.
#pragma once

#include <cstdint>
#include <vector>

#include "ext4/tree.h"

namespace cleanroom::ext4 {

inline constexpr uint32_t kRootInode = 2;    // as every ext4
inline constexpr uint32_t kFirstInode = 11;  // lower ones are the file system's own

// By node; 0 for those that no folder holds. No entry may be added or removed afterwards.
std::vector<uint32_t> InodeNumbers(const Tree& tree);

}  // namespace cleanroom::ext4
