// Reads a tar stream (ustar, pax, GNU) entry by entry, on libarchive with every other format
// switched off.
//
// The bytes are hostile. What is checked here: the framing, the length of paths and link targets,
// the size of headers and extended attributes, ids that fit 32 bits. Whether a path may be written
// is the tree's business (ext4/tree.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "archive/byte_source.h"
#include "archive/limits.h"
#include "base/result.h"

namespace cleanroom::archive {

struct Xattr {
  std::string name;  // with its prefix: "security.capability"
  std::string value;
  bool operator==(const Xattr&) const = default;
};

enum class EntryType { kFile, kFolder, kSymlink, kHardLink, kCharDevice, kBlockDevice, kFifo };

struct TarEntry {
  EntryType type = EntryType::kFile;
  std::string path;          // as in the tar, bytes
  std::string target;        // of symbolic and hard links
  uint32_t permissions = 0;  // 07777
  uint32_t uid = 0, gid = 0;
  int64_t mtime = 0;
  uint32_t mtime_nsec = 0;
  uint64_t size = 0;  // of kFile, holes included
  uint32_t device_major = 0, device_minor = 0;
  std::vector<Xattr> xattrs;
};

class TarReader {
 public:
  // `source` holds the uncompressed tar and outlives this.
  static Result<TarReader> Open(ByteSource& source, const Limits& limits);
  TarReader(TarReader&&) noexcept;
  ~TarReader();

  // False at the end of the archive. data_corrupt when it is damaged or cut off, resource_exhausted
  // when a header is over a limit; errors of the source pass through.
  Result<bool> Next(TarEntry& entry);
  // The content of the current entry in ascending order of offset; what is between is holes.
  using DataFn = std::function<Result<void>(uint64_t offset, std::span<const uint8_t> data)>;
  Result<void> ReadData(const DataFn& on_data);
  // The same content piece by piece, holes as zeros; 0 at its end.
  Result<size_t> ReadSome(std::span<uint8_t> buffer);

 private:
  struct Impl;
  explicit TarReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cleanroom::archive
