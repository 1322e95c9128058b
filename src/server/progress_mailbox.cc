#include "server/progress_mailbox.h"

namespace cleanroom::server {

void ProgressMailbox::Put(ProgressUpdate update) {
  const std::lock_guard lock(mutex_);
  newest_ = std::move(update);
  if (std::exchange(posted_, true)) return;
  asio::post(executor_, [self = shared_from_this()] {
    ProgressUpdate newest;
    {
      const std::lock_guard inner(self->mutex_);
      self->posted_ = false;
      newest = self->newest_;
    }
    if (self->tell_) self->tell_(std::move(newest));
  });
}

}  // namespace cleanroom::server
