#include "os/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <vector>

namespace cleanroom::os {
namespace {

std::unexpected<Error> FileError(std::string_view call, std::string_view path) {
  const int saved = errno;
  return Err(Error::FromErrno(CodeForErrno(saved), saved, fmt::format("{} {}", call, path))
                 .About(SubjectKind::kFile, std::string(path)));
}

std::string DirName(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

enum class Durability { kProcess, kPowerFailure };

Result<void> Replace(const std::string& path, std::string_view contents, mode_t mode,
                     Durability durability) {
  std::string temporary = path + ".XXXXXX";
  UniqueFd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return FileError("create", temporary);
  auto write_and_rename = [&]() -> Result<void> {
    if (fchmod(fd.get(), mode) != 0) return FileError("chmod", temporary);
    CR_TRY(WriteAll(fd.get(), contents, temporary));
    if (durability == Durability::kPowerFailure && fsync(fd.get()) != 0)
      return FileError("fsync", temporary);
    if (rename(temporary.c_str(), path.c_str()) != 0) return FileError("rename to", path);
    return {};
  };
  auto done = write_and_rename();
  if (!done) unlink(temporary.c_str());
  return done;
}

constexpr std::chrono::milliseconds kLockPause{5};

Result<bool> LockFd(int fd, int operation, const std::string& path) {
  while (flock(fd, operation) != 0) {
    if (errno == EWOULDBLOCK) return false;
    if (errno != EINTR) return FileError("lock", path);
  }
  return true;
}

}  // namespace

ErrorCode CodeForErrno(int errno_value) {
  switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermissionDenied;
    case EEXIST:
      return ErrorCode::kAlreadyExists;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EFBIG:
      return ErrorCode::kResourceExhausted;
    case EINVAL:
    case ENAMETOOLONG:
    case EISDIR:
    case ELOOP:
      return ErrorCode::kInvalidArgument;
    default:
      return ErrorCode::kInternal;
  }
}

Result<UniqueFd> Open(const std::string& path, int flags, mode_t mode) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return FileError("open", path);
  return UniqueFd(fd);
}

Result<UniqueFd> OpenAt(int dir_fd, const std::string& name, int flags, mode_t mode) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    return Err(ErrorCode::kInvalidArgument, fmt::format("'{}' is not a plain file name", name));
  }
  const int fd = openat(dir_fd, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return FileError("open", name);
  return UniqueFd(fd);
}

Result<UniqueFd> OpenDir(const std::string& path) { return Open(path, O_RDONLY | O_DIRECTORY); }

std::string ProcFdPath(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

Result<std::string> ReadAll(int fd, size_t max_bytes, std::string_view what) {
  std::string out;
  size_t used = 0;
  for (;;) {
    if (used == out.size()) out.resize(std::min(std::max<size_t>(4096, used * 2), max_bytes + 1));
    const ssize_t n = read(fd, out.data() + used, out.size() - used);
    if (n < 0) {
      if (errno == EINTR) continue;
      return FileError("read", what);
    }
    if (n == 0) break;
    used += static_cast<size_t>(n);
    if (used > max_bytes) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("{} is larger than {} bytes", what, max_bytes));
    }
  }
  out.resize(used);
  return out;
}

Result<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  CR_TRY_ASSIGN(UniqueFd fd, Open(path, O_RDONLY));
  return ReadAll(fd.get(), max_bytes, path);
}

Result<size_t> ReadAt(int fd, char* out, size_t size, int64_t offset, std::string_view what) {
  size_t done = 0;
  while (done < size) {
    const ssize_t n = pread(fd, out + done, size - done, offset + static_cast<int64_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrErrno(ErrorCode::kInternal, fmt::format("reading {}", what));
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

Result<void> WriteAll(int fd, std::string_view data, std::string_view what) {
  while (!data.empty()) {
    const ssize_t n = write(fd, data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return FileError("write", what);
    }
    data.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<void> WriteFileAtomic(const std::string& path, std::string_view contents, mode_t mode) {
  const std::string directory = DirName(path);
  CR_TRY_ASSIGN(const UniqueFd dir, OpenDir(directory));
  CR_TRY(Replace(path, contents, mode, Durability::kPowerFailure));
  if (fsync(dir.get()) != 0) return FileError("fsync", directory);
  return {};
}

Result<void> ReplaceFile(const std::string& path, std::string_view contents, mode_t mode) {
  return Replace(path, contents, mode, Durability::kProcess);
}

Result<void> MakeDirs(const std::string& path, mode_t mode) {
  for (size_t end = 1; end != std::string::npos && end <= path.size();) {
    end = path.find('/', end);
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), mode) != 0) {
      const int saved = errno;
      struct stat info;
      // EROFS, EACCES and EPERM come before EEXIST on some filesystems.
      if (stat(part.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
        errno = saved;
        return FileError("create directory", part);
      }
    }
    if (end != std::string::npos) ++end;
  }
  return {};
}

Result<FileLock> FileLock::Acquire(const std::string& path, std::chrono::milliseconds limit) {
  CR_TRY_ASSIGN(UniqueFd fd, Open(path, O_RDWR | O_CREAT));
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    CR_TRY_ASSIGN(const bool locked, LockFd(fd.get(), LOCK_EX | LOCK_NB, path));
    if (locked) return FileLock(std::move(fd));
    if (std::chrono::steady_clock::now() >= deadline) {
      return Err(ErrorCode::kDeadlineExceeded,
                 fmt::format("another process has held the lock {} for more than {} s", path,
                             std::chrono::duration<double>(limit).count()));
    }
    std::this_thread::sleep_for(kLockPause);  // flock(2) has no timed form
  }
}

Result<TempDir> TempDir::Create(const std::string& parent) {
  std::string base = parent;
  if (base.empty()) {
    const char* environment = std::getenv("TMPDIR");
    base = environment != nullptr && *environment != '\0' ? environment : "/tmp";
  }
  std::string path = base + "/cleanroom.XXXXXX";
  if (mkdtemp(path.data()) == nullptr) return FileError("create temporary directory", path);
  return TempDir(std::move(path));
}

TempDir& TempDir::operator=(TempDir&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

TempDir::~TempDir() {
  if (path_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace cleanroom::os
