#include "git/mirror_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "os/file.h"

namespace cleanroom::git {
namespace fs = std::filesystem;

int64_t NowNanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

uint64_t FolderBytes(const fs::path& folder) {
  uint64_t bytes = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    struct stat st;
    if (::lstat(it->path().c_str(), &st) == 0) bytes += static_cast<uint64_t>(st.st_blocks) * 512;
  }
  return bytes;
}

fs::path Beside(const fs::path& mirror, const char* extension) {
  fs::path out = mirror;
  return out.replace_extension(extension);
}

MirrorRecord ReadRecord(const fs::path& mirror) {
  const fs::path file = Beside(mirror, "json");
  MirrorRecord out;
  if (const Result<std::string> text = os::ReadFile(file, 1 << 20)) {
    if (Result<MirrorRecord> record = RecordFromJson(*text)) out = std::move(*record);
    struct stat st;
    if (::stat(file.c_str(), &st) == 0)
      out.used_at = std::max<int64_t>(out.used_at, st.st_mtim.tv_sec);
  }
  out.path = mirror;
  return out;
}

Result<void> WriteRecord(const fs::path& mirror, const MirrorRecord& record) {
  return os::WriteFileAtomic(Beside(mirror, "json"), RecordToJson(record), 0644);
}

void MarkUsed(const fs::path& mirror) {
  ::utimensat(AT_FDCWD, Beside(mirror, "json").c_str(), nullptr, 0);
}

}  // namespace cleanroom::git
