// A blob on its way: one thread downloads it into an unnamed file, another reads it as far as it
// has come.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>

#include "archive/byte_source.h"
#include "os/scratch.h"

namespace cleanroom::archive {

class Spool {
 public:
  explicit Spool(os::UniqueFd file) : file_(std::move(file)) {}

  // The writer: appends; ends with Finish, once, saying whether the bytes are whole and true.
  Result<void> Append(std::span<const uint8_t> data);
  void Finish(Result<void> outcome);

  // The reader: gets bytes before they are known to be true, and the outcome's error instead of the
  // end.
  std::unique_ptr<ByteSource> NewReader(std::stop_token stop);

  // Waits for Finish; the outcome.
  Result<void> Wait(const std::stop_token& stop);

 private:
  class Reader;
  os::UniqueFd file_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  uint64_t size_ = 0;                    // guarded by mutex_
  std::optional<Result<void>> outcome_;  // guarded by mutex_
};

}  // namespace cleanroom::archive
