#include "workspace/beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/printable.h"
#include "os/file.h"
#include "workspace/tree_path.h"

namespace cleanroom::workspace {
namespace {

// A descriptor, or -1 and errno.
int OpenBeneath(int top, const std::string& path, int flags) {
  open_how how = {};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  while (true) {
    const long fd = syscall(SYS_openat2, top, path.c_str(), &how, sizeof(how));
    if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) return static_cast<int>(fd);
  }
}

std::unexpected<Error> OpenFailure(const std::string& path) {
  const int error = errno;
  return Err(Error::FromErrno(os::CodeForErrno(error), error, EscapeUnprintable(path))
                 .About(SubjectKind::kFile, EscapeUnprintable(path)));
}

Look::Kind KindOf(mode_t mode) {
  if (S_ISREG(mode)) return Look::Kind::kFile;
  if (S_ISLNK(mode)) return Look::Kind::kLink;
  return S_ISDIR(mode) ? Look::Kind::kFolder : Look::Kind::kOther;
}

int64_t Nanoseconds(const timespec& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; }

}  // namespace

Result<Look> LookBeneath(int top, const std::string& path) {
  const os::UniqueFd fd(OpenBeneath(top, path, O_PATH));
  if (!fd) {
    if (errno == ENOENT) return Look{};
    if (errno == ELOOP) return Look{.kind = Look::Kind::kBehindLink};
    if (errno == ENOTDIR) return Look{.kind = Look::Kind::kBehindFile};
    if (errno == EXDEV) return Look{.kind = Look::Kind::kElsewhere};
    return OpenFailure(path);
  }
  struct stat info = {};
  if (fstatat(fd.get(), "", &info, AT_EMPTY_PATH) != 0) return OpenFailure(path);
  return Look{.kind = KindOf(info.st_mode),
              .device = info.st_dev,
              .inode = info.st_ino,
              .size = static_cast<uint64_t>(info.st_size),
              .mtime_ns = Nanoseconds(info.st_mtim),
              .ctime_ns = Nanoseconds(info.st_ctim),
              .mode = info.st_mode & 07777U};
}

Result<os::UniqueFd> OpenFileBeneath(int top, const std::string& path) {
  // Without blocking: a pipe may have taken the file's place.
  os::UniqueFd fd(OpenBeneath(top, path, O_RDONLY | O_NONBLOCK));
  if (!fd) return OpenFailure(path);
  struct stat info = {};
  if (fstat(fd.get(), &info) != 0) return OpenFailure(path);
  if (!S_ISREG(info.st_mode))
    return Err(ErrorCode::kFailedPrecondition, EscapeUnprintable(path) + " is no file any more");
  return fd;
}

Result<os::UniqueFd> OpenFolderBeneath(int top, const std::string& path, Missing missing) {
  os::UniqueFd at(OpenBeneath(top, path.empty() ? "." : path, O_PATH | O_DIRECTORY));
  if (at) return at;
  if (errno != ENOENT || missing == Missing::kFail) return OpenFailure(path);
  const std::string parent(ParentOf(path));
  CR_TRY_ASSIGN(const os::UniqueFd above, OpenFolderBeneath(top, parent, missing));
  const std::string name = path.substr(parent.empty() ? 0 : parent.size() + 1);
  if (mkdirat(above.get(), name.c_str(), 0755) != 0 && errno != EEXIST) return OpenFailure(path);
  at.reset(OpenBeneath(top, path, O_PATH | O_DIRECTORY));
  if (!at) return OpenFailure(path);
  return at;
}

Result<std::string> ReadLinkBeneath(int top, const std::string& path) {
  const os::UniqueFd fd(OpenBeneath(top, path, O_PATH));
  if (!fd) return OpenFailure(path);
  std::string target(kMaxPathBytes + 1, '\0');
  const ssize_t size = readlinkat(fd.get(), "", target.data(), target.size());
  if (size < 0) return OpenFailure(path);
  target.resize(static_cast<size_t>(size));
  return target;
}

}  // namespace cleanroom::workspace
