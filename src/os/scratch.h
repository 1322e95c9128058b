// What large work on disk needs beside file.h: reads and writes at a place, locks whose wait can be
// given up, temporary folders that are cleaned up after a crash.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/file.h"
#include "os/unique_fd.h"

namespace cleanroom::os {

// An unnamed file in `folder`; it is gone when its descriptor is.
Result<UniqueFd> OpenUnnamed(const std::filesystem::path& folder);

Result<void> PwriteAll(int fd, std::span<const uint8_t> data, uint64_t offset);
// Up to data.size() bytes; 0 at the end of the file.
Result<size_t> PreadSome(int fd, std::span<uint8_t> data, uint64_t offset);
// read(2), up to data.size() bytes; 0 at the end.
Result<size_t> ReadSome(int fd, std::span<uint8_t> data);
Result<uint64_t> FileSize(int fd);

Result<void> SyncFolder(const std::filesystem::path& folder);

// An exclusive lock shared by threads and processes, on a file that is made for it and removed with
// it.
class StoppableLock {
 public:
  // Waits for the lock until `stop` is requested (kCanceled), and at most for `limit`: then
  // kDeadlineExceeded, naming the file.
  static Result<StoppableLock> Acquire(const std::filesystem::path& path,
                                       const std::stop_token& stop, std::chrono::seconds limit);
  // Removes the files in `folder` that killed holders left.
  static void RemoveStale(const std::filesystem::path& folder);
  StoppableLock(StoppableLock&&) = default;
  StoppableLock& operator=(StoppableLock&&) = delete;
  ~StoppableLock();

 private:
  StoppableLock(std::filesystem::path path, UniqueFd fd)
      : path_(std::move(path)), fd_(std::move(fd)) {}
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

}  // namespace cleanroom::os
