// A git index (gitformat-index(5), version 2) as git made it from a commit, to be given the stat data
// of files that git has not seen.
//
// The bytes come from our own git but depend on a hostile repository: every length is checked, and
// data_corrupt is the answer to whatever is not as it should be.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace cleanroom::repository {

enum class HashAlgorithm : uint8_t { kSha1, kSha256 };

// What git compares of a file (device and user-visible mode aside). Times are those of all files of
// the layer that it is in.
struct FileStat {
  uint32_t mtime = 0;
  uint32_t inode = 0;
  uint32_t uid = 0, gid = 0;
  uint32_t size = 0;  // the low 32 bits, as git has it
  bool operator==(const FileStat&) const = default;
};

class GitIndex {
 public:
  static Result<GitIndex> Parse(std::string bytes, HashAlgorithm algorithm, uint64_t max_entries);

  struct Entry {
    std::string_view path;  // of the index's own bytes
    uint32_t mode = 0;      // 0100644, 0100755, 0120000, 0160000
    size_t offset = 0;      // in the bytes
  };
  // In git's order, which is that of bytes.
  const std::vector<Entry>& entries() const { return entries_; }

  FileStat Stat(const Entry& entry) const;
  void SetStat(const Entry& entry, const FileStat& stat);
  // The bytes with a checksum that fits.
  Result<std::string> Finish();

 private:
  GitIndex(std::string bytes, HashAlgorithm algorithm)
      : bytes_(std::move(bytes)), algorithm_(algorithm) {}
  uint32_t Get(size_t offset) const;
  void Put(size_t offset, uint32_t value);

  std::string bytes_;
  HashAlgorithm algorithm_;
  std::vector<Entry> entries_;
};

}  // namespace cleanroom::repository
