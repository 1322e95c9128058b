#include "guest/files/root.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "os/file.h"

namespace cleanroom::guest {
namespace {

constexpr std::string_view kTemporaryName = ".cleanroom-new";

os::UniqueFd OpenIn(int root_fd, const std::string& path, uint64_t flags, uint64_t resolve) {
  struct open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve | RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return os::UniqueFd(static_cast<int>(
      syscall(SYS_openat2, root_fd, path.empty() ? "." : path.c_str(), &how, sizeof how)));
}

std::unexpected<Error> PathError(std::string_view call, std::string_view path) {
  const int saved = errno;
  return Err(Error::FromErrno(os::CodeForErrno(saved), saved, fmt::format("{} {}", call, path)));
}

// Walks `path` from its start, making what is missing. The prefix is resolved anew at every step,
// because ".." after a symbolic link means another directory than it seems to.
Result<os::UniqueFd> Walk(int root_fd, const std::string& path, uint64_t resolve) {
  os::UniqueFd parent = OpenIn(root_fd, ".", O_PATH | O_DIRECTORY, resolve);
  if (!parent) return PathError("open", "/");
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty() || name == ".") continue;
    const std::string prefix = path.substr(0, end);
    os::UniqueFd next = OpenIn(root_fd, prefix, O_PATH | O_DIRECTORY, resolve);
    if (!next && errno == ENOENT && name != "..") {
      if (mkdirat(parent.get(), name.c_str(), 0755) != 0) return PathError("make", prefix);
      next = OpenIn(root_fd, prefix, O_PATH | O_DIRECTORY, resolve);
    }
    if (!next) return PathError("open directory", prefix);
    parent = std::move(next);
  }
  return parent;
}

// Writes over a file that is already what is wanted, but for its contents: one call instead of the
// dozen of a replacement.
bool WriteOver(int root_fd, const std::string& path, std::string_view contents, mode_t mode) {
  const os::UniqueFd file = OpenIn(root_fd, path, O_WRONLY | O_NONBLOCK, RESOLVE_NO_SYMLINKS);
  struct stat info;
  return file && fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink == 1 &&
         info.st_uid == geteuid() && (info.st_mode & 07777) == mode &&
         info.st_size == static_cast<off_t>(contents.size()) &&
         pwrite(file.get(), contents.data(), contents.size(), 0) == info.st_size;
}

}  // namespace

Result<Root> Root::Open(const std::string& path) {
  CR_TRY_ASSIGN(os::UniqueFd fd, os::OpenDir(path));
  return Root(std::move(fd));
}

Result<os::UniqueFd> Root::OpenFile(const std::string& path) const {
  // First without opening what is behind the name: a device would notice.
  const os::UniqueFd place = OpenIn(fd_.get(), path, O_PATH, RESOLVE_NO_XDEV);
  if (!place && errno == EXDEV) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("{} is on another file system than the root: copy it first", path));
  }
  struct stat info;
  if (!place || fstat(place.get(), &info) != 0) return PathError("open", path);
  if (!S_ISREG(info.st_mode)) {
    return Err(ErrorCode::kInvalidArgument, fmt::format("{} is not a regular file", path));
  }
  return os::Open(os::ProcFdPath(place.get()), O_RDONLY | O_NOCTTY);
}

Result<std::string> Root::ReadFile(const std::string& path, size_t max_bytes) const {
  CR_TRY_ASSIGN(const os::UniqueFd file, OpenFile(path));
  return os::ReadAll(file.get(), max_bytes, path);
}

Result<void> Root::ReplaceFile(const std::string& directory, const std::string& name,
                               std::string_view contents, mode_t mode) const {
  const std::string path = fmt::format("{}/{}", directory, name);
  if (WriteOver(fd_.get(), path, contents, mode)) return {};
  CR_TRY_ASSIGN(const os::UniqueFd parent, MakeDirs(directory));
  const std::string temporary(kTemporaryName);
  (void)unlinkat(parent.get(), temporary.c_str(), 0);
  CR_TRY_ASSIGN(const os::UniqueFd file,
                os::OpenAt(parent.get(), temporary, O_WRONLY | O_CREAT | O_EXCL, mode));
  CR_TRY(os::WriteAll(file.get(), contents, path));
  // Not subject to the umask.
  if (fchmod(file.get(), mode) != 0 ||
      renameat(parent.get(), temporary.c_str(), parent.get(), name.c_str()) != 0) {
    return PathError("write", path);
  }
  return {};
}

Result<os::UniqueFd> Root::MakeDirs(const std::string& path) const {
  return Walk(fd_.get(), path, 0);
}

Result<os::UniqueFd> Root::MountPoint(const std::string& path) const {
  return Walk(fd_.get(), path, RESOLVE_NO_SYMLINKS);
}

}  // namespace cleanroom::guest
