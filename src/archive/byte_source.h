// A stream of bytes that is read once, from its beginning: a blob while it is downloaded, a part of
// a file, the unpacked form of another source.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "os/scratch.h"

namespace cleanroom::archive {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // At least one byte unless `buffer` is empty; 0 at the end. After an error only errors follow.
  virtual Result<size_t> Read(std::span<uint8_t> buffer) = 0;
  // Passes over `count` bytes where that costs nothing, and says how many it passed (possibly 0).
  virtual uint64_t Skip(uint64_t count) {
    (void)count;
    return 0;
  }
};

// Bytes [offset, offset + length) of a regular file that stays open while this lives; it ends where
// the file does.
class FileSource : public ByteSource {
 public:
  FileSource(int fd, uint64_t offset, uint64_t length) : fd_(fd), offset_(offset), left_(length) {}
  Result<size_t> Read(std::span<uint8_t> buffer) override;
  uint64_t Skip(uint64_t count) override;

 private:
  int fd_;
  uint64_t offset_;
  uint64_t left_;
};

}  // namespace cleanroom::archive
