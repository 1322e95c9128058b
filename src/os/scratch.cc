#include "os/scratch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace cleanroom::os {
namespace fs = std::filesystem;
namespace {

// Whether `path` still is the open file.
bool IsNamed(int fd, const fs::path& path) {
  struct stat held, named;
  return ::fstat(fd, &held) == 0 && ::stat(path.c_str(), &named) == 0 &&
         held.st_ino == named.st_ino;
}

}  // namespace

Result<UniqueFd> OpenUnnamed(const fs::path& folder) {
  UniqueFd fd(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd) return fd;
  if (errno != EOPNOTSUPP && errno != EISDIR) {
    return ErrErrno(ErrorCode::kFailedPrecondition,
                    fmt::format("make a temporary file in {}", folder.string()));
  }
  std::string name = (folder / "spool.XXXXXX").string();
  UniqueFd named(::mkostemp(name.data(), O_CLOEXEC));
  if (!named) {
    return ErrErrno(ErrorCode::kFailedPrecondition,
                    fmt::format("make a temporary file in {}", folder.string()));
  }
  ::unlink(name.c_str());
  return named;
}

Result<void> PwriteAll(int fd, std::span<const uint8_t> data, uint64_t offset) {
  while (!data.empty()) {
    const ssize_t n = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return ErrErrno(
          errno == ENOSPC || errno == EDQUOT ? ErrorCode::kResourceExhausted : ErrorCode::kInternal,
          "write a file");
    }
    data = data.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Result<size_t> PreadSome(int fd, std::span<uint8_t> data, uint64_t offset) {
  return ReadAt(fd, reinterpret_cast<char*>(data.data()), data.size(), static_cast<int64_t>(offset),
                "a file");
}

Result<size_t> ReadSome(int fd, std::span<uint8_t> data) {
  while (true) {
    const ssize_t n = ::read(fd, data.data(), data.size());
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) return ErrErrno(ErrorCode::kFailedPrecondition, "read the input");
  }
}

Result<uint64_t> FileSize(int fd) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return ErrErrno(ErrorCode::kInternal, "fstat");
  return static_cast<uint64_t>(st.st_size);
}

Result<void> SyncFolder(const fs::path& folder) {
  CR_TRY_ASSIGN(const UniqueFd fd, Open(folder, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0)
    return ErrErrno(ErrorCode::kInternal, fmt::format("fsync {}", folder.string()));
  return {};
}

Result<StoppableLock> StoppableLock::Acquire(const fs::path& path, const std::stop_token& stop,
                                             std::chrono::seconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::mutex mutex;
  std::condition_variable_any wake;
  while (true) {
    CR_TRY_ASSIGN(UniqueFd fd, Open(path, O_RDWR | O_CREAT));
    while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) {
        return ErrErrno(ErrorCode::kInternal, fmt::format("lock {}", path.string()));
      }
      std::unique_lock lock(mutex);
      // flock has no timed form; 10 ms of latency is nothing beside building an image.
      wake.wait_for(lock, stop, std::chrono::milliseconds(10), [] { return false; });
      if (stop.stop_requested()) return Err(ErrorCode::kCanceled, "the operation was cancelled");
      if (std::chrono::steady_clock::now() >= deadline) {
        return Err(ErrorCode::kDeadlineExceeded,
                   fmt::format("another process has held the lock {} for more than {} s",
                               path.string(), limit.count()));
      }
    }
    // Else the last holder removed the file while this one waited: lock the file that has the name
    // now.
    if (IsNamed(fd.get(), path)) return StoppableLock(path, std::move(fd));
  }
}

void StoppableLock::RemoveStale(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    // As the last holder does it: under the lock. Who waits for this file looks for another then.
    const UniqueFd fd(::open(it->path().c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && IsNamed(fd.get(), it->path()))
      ::unlink(it->path().c_str());
  }
}

StoppableLock::~StoppableLock() {
  if (fd_) ::unlink(path_.c_str());
}

Result<TempFolder> TempFolder::Create(const fs::path& parent) {
  CR_TRY(MakeDirs(parent, 0755));
  while (true) {
    std::string name = (parent / "XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      return ErrErrno(ErrorCode::kFailedPrecondition,
                      fmt::format("make a folder in {}", parent.string()));
    }
    CR_TRY_ASSIGN(UniqueFd fd, Open(name, O_RDONLY | O_DIRECTORY));
    // RemoveStale may look between mkdtemp and flock, and take the empty folder away: then try
    // another.
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) continue;
    struct stat st;
    if (::stat(name.c_str(), &st) != 0) continue;
    return TempFolder(name, std::move(fd));
  }
}

void TempFolder::RemoveStale(const fs::path& parent) {
  std::error_code error;
  for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
    UniqueFd fd(::open(it->path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) continue;
    std::error_code ignored;
    fs::remove_all(it->path(), ignored);
  }
}

TempFolder::TempFolder(TempFolder&& other) noexcept
    : path_(std::exchange(other.path_, {})), fd_(std::move(other.fd_)) {}

TempFolder::~TempFolder() {
  if (path_.empty()) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace cleanroom::os
