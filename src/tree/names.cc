#include "tree/names.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/printable.h"
#include "os/file.h"
#include "tree/tar_format.h"

namespace cleanroom::tree {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

// As much of a hostile path as helps.
std::string Shown(std::string_view path) {
  constexpr size_t kShown = 300;
  return EscapeUnprintable(path.substr(0, kShown)) + (path.size() > kShown ? "…" : "");
}

}  // namespace

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && name != "." && name != ".." &&
         !name.contains('/') && !name.contains('\0');
}

Result<std::vector<std::string_view>> SplitRelative(std::string_view path) {
  if (path.starts_with('/')) {
    return PathError(ErrorCode::kInvalidArgument, path, "is absolute");
  }
  std::vector<std::string_view> names;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, end);
    if (!name.empty() && name != ".") {
      if (!IsName(name)) {
        return PathError(ErrorCode::kInvalidArgument, name,
                         name == ".." ? "leads out of its folder" : "is no name of a file");
      }
      if (names.size() == kMaxDepth) {
        return PathError(ErrorCode::kInvalidArgument, path,
                         fmt::format("is deeper than {} folders", kMaxDepth));
      }
      names.push_back(name);
    }
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return names;
}

Result<std::vector<std::string>> SortedNames(int folder_fd, size_t limit) {
  os::UniqueFd own(fcntl(folder_fd, F_DUPFD_CLOEXEC, 0));
  if (!own) return ErrErrno(ErrorCode::kInternal, "dup");
  const std::unique_ptr<DIR, CloseFolder> folder(fdopendir(own.get()));
  if (folder == nullptr) return ErrErrno(ErrorCode::kInternal, "fdopendir");
  (void)own.release();
  rewinddir(folder.get());
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(folder.get());
    if (entry == nullptr && errno != 0) return ErrErrno(ErrorCode::kInternal, "readdir");
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (names.size() == limit) {
      return Err(ErrorCode::kResourceExhausted, "there are too many files for one call");
    }
    names.emplace_back(name);
  }
  std::ranges::sort(names);
  return names;
}

std::string TemporaryName() {
  uint64_t random = 0;
  // Never short for so little, once the kernel's generator is seeded.
  (void)!getrandom(&random, sizeof random, 0);
  return fmt::format(".cleanroom-{:016x}", random);
}

std::unexpected<Error> PathError(std::string_view call, std::string_view path) {
  const int saved = errno;
  const ErrorCode code = saved == ELOOP || saved == ENAMETOOLONG || saved == EISDIR
                             ? ErrorCode::kInvalidArgument
                             : os::CodeForErrno(saved);
  return Err(Error::FromErrno(code, saved, fmt::format("{} {}", call, Shown(path)))
                 .About(SubjectKind::kFile, Shown(path)));
}

std::unexpected<Error> PathError(ErrorCode code, std::string_view path, std::string_view what) {
  return Err(
      Error(code, fmt::format("{} {}", Shown(path), what)).About(SubjectKind::kFile, Shown(path)));
}

}  // namespace cleanroom::tree
