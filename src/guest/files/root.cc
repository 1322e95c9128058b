#include "guest/files/root.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "os/file.h"
#include "tree/data_mounts.h"
#include "tree/names.h"
#include "tree/tar_format.h"

namespace cleanroom::guest {
namespace {

constexpr std::string_view kTemporaryName = ".cleanroom-new";
constexpr int kAttempts = 100;
// As the kernel.
constexpr int kMaxHops = 40;

os::UniqueFd OpenIn(int root_fd, const std::string& path, uint64_t flags, uint64_t resolve) {
  struct open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve | RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: something was renamed meanwhile, and the kernel cannot tell whether ".." led out.
  for (int attempt = 0;; ++attempt) {
    os::UniqueFd fd(static_cast<int>(
        syscall(SYS_openat2, root_fd, path.empty() ? "." : path.c_str(), &how, sizeof how)));
    if (fd || errno != EAGAIN || attempt == kAttempts) return fd;
  }
}

using tree::PathError;

// The folder's path and the name at the end, without the slashes around it.
std::pair<std::string, std::string> SplitLast(std::string path) {
  while (path.ends_with('/')) path.pop_back();
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

Result<void> CheckData(int fd, dev_t device, const std::string& path) {
  tree::DataMounts mounts(tree::Mounts::kData);
  if (mounts.Allow(fd, device)) return {};
  return PathError(ErrorCode::kInvalidArgument, path,
                   "is on a virtual file system, which holds no files to read or write");
}

Result<void> CheckFolder(const os::UniqueFd& fd, const std::string& path) {
  struct stat info = {};
  if (!fd || fstat(fd.get(), &info) != 0) return PathError("open", path);
  return CheckData(fd.get(), info.st_dev, path);
}

Result<std::string> ReadLink(const Root::Place& place, const std::string& path) {
  std::array<char, tree::kMaxPathBytes> target;
  const ssize_t n =
      readlinkat(place.folder.get(), place.name.c_str(), target.data(), target.size());
  if (n < 0) return PathError("read the link", path);
  return std::string(target.data(), static_cast<size_t>(n));
}

// Walks `path` from its start, making what is missing. The prefix is resolved anew at every step,
// because ".." after a symbolic link means another directory than it seems to.
Result<os::UniqueFd> Walk(int root_fd, const std::string& path, uint64_t resolve,
                          std::optional<tree::Owner> owner = {}) {
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
      if (owner &&
          fchownat(parent.get(), name.c_str(), owner->uid, owner->gid, AT_SYMLINK_NOFOLLOW) != 0) {
        return PathError("give away", prefix);
      }
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
  const os::UniqueFd place = OpenIn(fd_.get(), path, O_PATH, 0);
  struct stat info;
  if (!place || fstat(place.get(), &info) != 0) return PathError("open", path);
  if (!S_ISREG(info.st_mode)) {
    return PathError(ErrorCode::kInvalidArgument, path, "is not a regular file");
  }
  CR_TRY(CheckData(place.get(), info.st_dev, path));
  return os::Open(os::ProcFdPath(place.get()), O_RDONLY | O_NONBLOCK | O_NOCTTY);
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

Result<os::UniqueFd> Root::MakeDirs(const std::string& path,
                                    std::optional<tree::Owner> owner) const {
  return Walk(fd_.get(), path, 0, owner);
}

Result<os::UniqueFd> Root::OpenFolder(const std::string& path) const {
  os::UniqueFd folder = OpenIn(fd_.get(), path, O_PATH | O_DIRECTORY, 0);
  CR_TRY(CheckFolder(folder, path));
  return folder;
}

Result<struct stat> Root::Stat(const std::string& path, Links links) const {
  const os::UniqueFd place =
      OpenIn(fd_.get(), path, links == Links::kFollow ? O_PATH : O_PATH | O_NOFOLLOW, 0);
  struct stat info = {};
  if (!place || fstat(place.get(), &info) != 0) return PathError("look at", path);
  return info;
}

Result<Root::Place> Root::Locate(const std::string& path) const {
  auto [folder, name] = SplitLast(path);
  const bool whole = name.empty() || name == "." || name == "..";
  Place place{.folder = OpenIn(fd_.get(), whole ? path : folder, O_PATH | O_DIRECTORY, 0),
              .name = whole ? "." : std::move(name)};
  if (!place.folder) return PathError("open the folder of", path);
  return place;
}

Result<Root::Place> Root::LocateForWriting(const std::string& path,
                                           std::optional<tree::Owner> owner) const {
  std::string at = path;
  for (int hop = 0; hop < kMaxHops && at.size() <= tree::kMaxPathBytes; ++hop) {
    auto [folder, name] = SplitLast(at);
    if (at.ends_with('/') || name == "." || name == ".." || name.empty()) {
      return PathError(ErrorCode::kInvalidArgument, path, "is a folder, not a file to write");
    }
    Place place{.folder = {}, .name = std::move(name)};
    if (hop == 0) {
      CR_TRY_ASSIGN(place.folder, MakeDirs(folder, owner));
    } else {
      place.folder = OpenIn(fd_.get(), folder, O_PATH | O_DIRECTORY, 0);
    }
    CR_TRY(CheckFolder(place.folder, folder));
    struct stat info = {};
    if (fstatat(place.folder.get(), place.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      return errno == ENOENT ? Result<Place>(std::move(place)) : PathError("look at", path);
    }
    if (S_ISREG(info.st_mode)) return place;
    if (!S_ISLNK(info.st_mode)) {
      return PathError(ErrorCode::kInvalidArgument, path,
                       S_ISDIR(info.st_mode) ? "is a folder, not a file to write"
                                             : "is a device, a FIFO or a socket");
    }
    auto target = ReadLink(place, path);
    if (!target) return Err(std::move(target).error());
    if (target->starts_with('/')) folder.clear();
    at = folder + "/" + *target;
  }
  errno = ELOOP;
  return PathError("follow", path);
}

Result<os::UniqueFd> Root::MountPoint(const std::string& path) const {
  return Walk(fd_.get(), path, RESOLVE_NO_SYMLINKS);
}

}  // namespace cleanroom::guest
