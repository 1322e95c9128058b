// Files read and written whole, directories made, locks held. Paths appear in every error.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::os {

// The code for an errno of a file operation: ENOENT -> not_found, EACCES/EPERM ->
// permission_denied, EEXIST -> already_exists, ENOSPC/EMFILE/... -> resource_exhausted, everything
// else -> internal.
ErrorCode CodeForErrno(int errno_value);

// open(2) with O_CLOEXEC added.
Result<UniqueFd> Open(const std::string& path, int flags, mode_t mode = 0600);

// The same, relative to a directory descriptor. `name` must be a single component: no '/', not
// ".."; O_NOFOLLOW is added.
Result<UniqueFd> OpenAt(int dir_fd, const std::string& name, int flags, mode_t mode = 0600);

// A descriptor of a directory, for the *At functions and ProcFdPath.
Result<UniqueFd> OpenDir(const std::string& path);

// "/proc/self/fd/N": a short name for what the descriptor refers to.
std::string ProcFdPath(int fd);

// The whole file; resource_exhausted when it has more than `max_bytes`. Works for /proc and pipes
// too.
Result<std::string> ReadFile(const std::string& path, size_t max_bytes);
Result<std::string> ReadAll(int fd, size_t max_bytes, std::string_view what);

// As many of `size` bytes at `offset` of a file as it has. `what` is for the error, as in "reading
// what".
Result<size_t> ReadAt(int fd, char* out, size_t size, int64_t offset, std::string_view what);

// Writes everything, through short writes and EINTR. For blocking descriptors.
Result<void> WriteAll(int fd, std::string_view data, std::string_view what);

// Replaces the file so that a reader, or a crash at any moment, sees the old or the new contents,
// never a part: temporary file beside it, fsync, rename, fsync of the directory.
Result<void> WriteFileAtomic(const std::string& path, std::string_view contents,
                             mode_t mode = 0600);
// The same for readers and for the death of any process, without waiting for the disk: after a
// power failure the file may be missing or empty.
Result<void> ReplaceFile(const std::string& path, std::string_view contents, mode_t mode = 0600);

// mkdir -p; directories that exist keep their mode.
Result<void> MakeDirs(const std::string& path, mode_t mode = 0700);

// An exclusive flock(2) on a file made for the purpose; released when destroyed, or when the
// process dies.
class FileLock {
 public:
  // Waits for the holder, at most for `limit`: then deadline_exceeded, naming the file.
  static Result<FileLock> Acquire(const std::string& path, std::chrono::milliseconds limit);

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// A directory of its own that is removed, with what it holds, when destroyed.
class TempDir {
 public:
  // In `parent`, or in $TMPDIR or /tmp.
  static Result<TempDir> Create(const std::string& parent = "");
  TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempDir& operator=(TempDir&& other) noexcept;
  ~TempDir();
  const std::string& path() const { return path_; }
  // Gives the directory up: it stays.
  std::string Keep() { return std::exchange(path_, {}); }

 private:
  explicit TempDir(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace cleanroom::os
