#include "archive/spool.h"

namespace cleanroom::archive {

Result<void> Spool::Append(std::span<const uint8_t> data) {
  CR_TRY(os::PwriteAll(file_.get(), data, size_));  // only this thread changes size_
  {
    const std::lock_guard lock(mutex_);
    size_ += data.size();
  }
  changed_.notify_all();
  return {};
}

void Spool::Finish(Result<void> outcome) {
  {
    const std::lock_guard lock(mutex_);
    outcome_ = std::move(outcome);
  }
  changed_.notify_all();
}

Result<void> Spool::Wait(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, stop, [this] { return outcome_.has_value(); });
  if (!outcome_) return Err(ErrorCode::kCanceled, "the operation was cancelled");
  return *outcome_;
}

class Spool::Reader : public ByteSource {
 public:
  Reader(Spool& spool, std::stop_token stop) : spool_(spool), stop_(std::move(stop)) {}

  Result<size_t> Read(std::span<uint8_t> buffer) override {
    if (offset_ >= known_) {
      std::unique_lock lock(spool_.mutex_);
      spool_.changed_.wait(lock, stop_,
                           [this] { return spool_.size_ > offset_ || spool_.outcome_; });
      known_ = spool_.size_;
      if (known_ == offset_) {
        if (!spool_.outcome_) return Err(ErrorCode::kCanceled, "the operation was cancelled");
        if (!*spool_.outcome_) return Err(spool_.outcome_->error());
        return size_t{0};
      }
    }
    buffer = buffer.first(std::min<uint64_t>(buffer.size(), known_ - offset_));
    CR_TRY_ASSIGN(const size_t n, os::PreadSome(spool_.file_.get(), buffer, offset_));
    offset_ += n;
    return n;
  }

 private:
  Spool& spool_;
  std::stop_token stop_;
  uint64_t offset_ = 0;
  uint64_t known_ = 0;
};

std::unique_ptr<ByteSource> Spool::NewReader(std::stop_token stop) {
  return std::make_unique<Reader>(*this, std::move(stop));
}

}  // namespace cleanroom::archive
