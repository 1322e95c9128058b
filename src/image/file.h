// Files on the host: owned descriptors, whole reads and writes, atomic replacement, locks between
// processes, temporary folders that clean up after a crash.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::image {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int Release();
  void Reset();

 private:
  int fd_ = -1;
};

// O_CLOEXEC is added.
Result<UniqueFd> OpenFile(const std::filesystem::path& path, int flags, unsigned mode = 0600);

// An unnamed file in `folder`; it is gone when its descriptor is.
Result<UniqueFd> OpenUnnamed(const std::filesystem::path& folder);

Result<void> PwriteAll(int fd, std::span<const uint8_t> data, uint64_t offset);
// Up to data.size() bytes; 0 at the end of the file.
Result<size_t> PreadSome(int fd, std::span<uint8_t> data, uint64_t offset);
// read(2), up to data.size() bytes; 0 at the end.
Result<size_t> ReadSome(int fd, std::span<uint8_t> data);
Result<uint64_t> FileSize(int fd);

// The whole file; resource_exhausted when it is larger than `limit`.
Result<std::string> ReadWholeFile(const std::filesystem::path& path, uint64_t limit);

// Writes beside `path`, syncs, renames over it: readers see the old content or the new.
Result<void> WriteFileAtomically(const std::filesystem::path& path, std::string_view content);
Result<void> SyncFolder(const std::filesystem::path& folder);
Result<void> MakeFolders(const std::filesystem::path& folder);

// An exclusive lock shared by threads and processes, on a file that is made for it and removed with
// it.
class FileLock {
 public:
  // Waits for the lock until `stop` is requested (kCanceled), and at most for `limit`: then
  // kDeadlineExceeded, naming the file.
  static Result<FileLock> Acquire(const std::filesystem::path& path, const std::stop_token& stop,
                                  std::chrono::seconds limit);
  // Removes the files in `folder` that killed holders left.
  static void RemoveStale(const std::filesystem::path& folder);
  FileLock(FileLock&&) = default;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  FileLock(std::filesystem::path path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::filesystem::path path_;
  UniqueFd fd_;
};

// A folder under `parent` that goes away with this object. It is locked while its owner lives, so
// that RemoveStale can tell what a killed process left.
class TempFolder {
 public:
  static Result<TempFolder> Create(const std::filesystem::path& parent);
  static void RemoveStale(const std::filesystem::path& parent);
  TempFolder(TempFolder&& other) noexcept;
  TempFolder& operator=(TempFolder&&) = delete;
  ~TempFolder();
  const std::filesystem::path& path() const { return path_; }

 private:
  TempFolder(std::filesystem::path path, UniqueFd fd)
      : path_(std::move(path)), fd_(std::move(fd)) {}
  std::filesystem::path path_;
  UniqueFd fd_;
};

}  // namespace cleanroom::image
