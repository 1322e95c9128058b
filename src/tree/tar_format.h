// An entry of a tar, and the header that announces it (POSIX.1-2001: ustar, with pax records for
// what does not fit).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

namespace cleanroom::tree {

inline constexpr size_t kTarBlock = 512;
// Of a path, a link's target.
inline constexpr size_t kMaxPathBytes = 4096;
inline constexpr size_t kMaxNameBytes = 255;

enum class TarType : uint8_t { kFile, kFolder, kSymlink, kHardLink, kDevice, kFifo };

struct TarEntry {
  std::string path{};  // bytes, as written; not checked
  TarType type = TarType::kFile;
  uint64_t size = 0;       // of the content that follows; 0 for all but files
  mode_t permissions = 0;  // the lowest twelve bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  timespec mtime{};
  std::string target{};  // of a link
};

// The header's blocks, pax records before them where they are needed. A folder's path gets its
// slash.
std::string TarHeader(const TarEntry& entry);
// Zeros to add after content of so many bytes.
size_t TarPadding(uint64_t size);
// Two blocks of zeros end a tar.
inline constexpr size_t kTarEndBytes = 2 * kTarBlock;

}  // namespace cleanroom::tree
