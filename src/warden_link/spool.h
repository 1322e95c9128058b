// The record of one execution's output: an append-only file of frames, written by the warden as the
// output arrives and read by any number of followers at their own pace, also long after the sandbox
// is gone. It is what keeps a slow reader from stalling the guest, and what a restart of the
// control plane resumes from.
//
// File: 8 bytes magic, then frames: kind (1 byte), time (8 bytes, microseconds since the Unix
// epoch), length (4 bytes), payload; little-endian. The last frame of an ended execution is kEnd,
// with a serialized ExecutionEnd. A torn last frame (the writer died) reads as "no more yet".
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::warden_link {

enum class FrameKind : uint8_t { kStdout = 1, kStderr = 2, kEnd = 3 };

// Largest payload of one frame, in bytes.
inline constexpr size_t kMaxFrameBytes = 256U << 10;
// Offset of the first frame.
inline constexpr int64_t kSpoolStart = 8;
// An offset for followers that want to know how a command ended, and nothing before (warden.proto,
// AttachInput).
inline constexpr int64_t kOnlyTheEnd = -1;

class SpoolWriter {
 public:
  // Creates the file (0600); kAlreadyExists when it is there.
  static Result<SpoolWriter> Create(const std::filesystem::path& file);

  // Appends one frame, whole or not at all as far as readers see. kResourceExhausted when the disk
  // is full or the record would pass `kMaxSpoolBytes`; the frame is then absent and the writer
  // still usable for the kEnd frame.
  Result<void> Append(FrameKind kind, std::string_view payload);

  // Nothing can be appended any more; the size stays.
  void Close() { fd_.reset(); }
  int64_t size() const { return size_; }

 private:
  SpoolWriter(os::UniqueFd fd, int64_t size) : fd_(std::move(fd)), size_(size) {}
  os::UniqueFd fd_;
  int64_t size_;
};

// Bound on one record: 8 GiB.
inline constexpr int64_t kMaxSpoolBytes = int64_t{8} << 30;

struct Frame {
  FrameKind kind;
  int64_t time_us;
  std::string payload;
  int64_t next_offset;  // right behind this frame
};

class SpoolReader {
 public:
  static Result<SpoolReader> Open(const std::filesystem::path& file, int64_t offset = kSpoolStart);

  // The frame at the offset, then moves on. Nothing when no whole frame is there (yet).
  // kDataCorrupt when the bytes at the offset are no frame.
  Result<std::optional<Frame>> Next();

 private:
  SpoolReader(os::UniqueFd fd, int64_t offset) : fd_(std::move(fd)), offset_(offset) {}
  os::UniqueFd fd_;
  int64_t offset_;
};

}  // namespace cleanroom::warden_link
