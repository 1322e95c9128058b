// Runs another source on a thread of its own, a bounded number of bytes ahead: unpacking a layer
// and writing it then take two cores.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "archive/byte_source.h"

namespace cleanroom::archive {

class ReadAhead : public ByteSource {
 public:
  // `input` outlives this and is read by this alone. When the queue is full (8 MiB) the thread
  // waits.
  explicit ReadAhead(ByteSource& input);
  ~ReadAhead() override;  // ends the thread; `input`'s running Read must end by itself

  Result<size_t> Read(std::span<uint8_t> buffer) override;

 private:
  void Run();

  ByteSource& input_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::vector<uint8_t>> chunks_;  // guarded by mutex_
  std::optional<Result<void>> end_;          // guarded by mutex_: what follows the last chunk
  bool stop_ = false;                        // guarded by mutex_
  std::vector<uint8_t> current_;
  size_t position_ = 0;
  std::jthread thread_;
};

}  // namespace cleanroom::archive
