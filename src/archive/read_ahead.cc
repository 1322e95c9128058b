#include "archive/read_ahead.h"

#include <algorithm>

namespace cleanroom::archive {
namespace {

constexpr size_t kChunkBytes = 512 << 10;
constexpr size_t kMaxChunks = 16;

}  // namespace

ReadAhead::ReadAhead(ByteSource& input) : input_(input), thread_([this] { Run(); }) {}

ReadAhead::~ReadAhead() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
}

void ReadAhead::Run() {
  while (true) {
    std::vector<uint8_t> chunk(kChunkBytes);
    size_t size = 0;
    std::optional<Result<void>> end;
    while (size < chunk.size() && !end) {
      Result<size_t> n = input_.Read(std::span(chunk).subspan(size));
      if (!n) {
        end = Err(std::move(n).error());
      } else if (*n == 0) {
        end = Result<void>();
      } else {
        size += *n;
      }
    }
    chunk.resize(size);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stop_ || chunks_.size() < kMaxChunks; });
    if (stop_) return;
    if (size > 0) chunks_.push_back(std::move(chunk));
    end_ = std::move(end);
    changed_.notify_all();
    if (end_) return;
  }
}

Result<size_t> ReadAhead::Read(std::span<uint8_t> buffer) {
  if (position_ == current_.size()) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !chunks_.empty() || end_; });
    if (chunks_.empty()) {
      if (!*end_) return Err(end_->error());
      return size_t{0};
    }
    current_ = std::move(chunks_.front());
    chunks_.pop_front();
    position_ = 0;
    changed_.notify_all();
  }
  const size_t n = std::min(buffer.size(), current_.size() - position_);
  std::copy_n(current_.begin() + static_cast<ptrdiff_t>(position_), n, buffer.begin());
  position_ += n;
  return n;
}

}  // namespace cleanroom::archive
