#include "archive/byte_source.h"

#include <algorithm>

namespace cleanroom::archive {

Result<size_t> FileSource::Read(std::span<uint8_t> buffer) {
  if (buffer.size() > left_) buffer = buffer.first(left_);
  if (buffer.empty()) return size_t{0};
  CR_TRY_ASSIGN(const size_t n, os::PreadSome(fd_, buffer, offset_));
  offset_ += n;
  left_ -= n;
  return n;
}

uint64_t FileSource::Skip(uint64_t count) {
  // Never past the end of the file, so that a truncated one is still noticed.
  const Result<uint64_t> size = os::FileSize(fd_);
  if (!size || *size <= offset_) return 0;
  const uint64_t n = std::min({count, left_, *size - offset_});
  offset_ += n;
  left_ -= n;
  return n;
}

}  // namespace cleanroom::archive
