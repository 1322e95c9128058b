// An index of git's: what is taken is taken again when it has new stat data and a new checksum. The
// first byte chooses the hash.
#include <string>

#include "repository/git_index.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cleanroom::repository;
  if (size == 0) return 0;
  const auto algorithm = data[0] % 2 == 0 ? HashAlgorithm::kSha1 : HashAlgorithm::kSha256;
  const std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  auto index = GitIndex::Parse(bytes, algorithm, 1000);
  if (!index) return 0;
  const FileStat stat{.mtime = 1, .inode = 2, .uid = 3, .gid = 4, .size = 5};
  for (const auto& entry : index->entries()) index->SetStat(entry, stat);
  const auto finished = index->Finish();
  if (!finished) __builtin_trap();
  const auto again = GitIndex::Parse(*finished, algorithm, 1000);
  if (!again || again->entries().size() != index->entries().size()) __builtin_trap();
  for (const auto& entry : again->entries()) {
    if (!(again->Stat(entry) == stat)) __builtin_trap();
  }
  return 0;
}
