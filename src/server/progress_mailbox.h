// ProgressMailbox: progress of blocking work, from its threads to where its callers live.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "base/async.h"
#include "server/progress.h"

namespace cleanroom::server {

// Only the newest is kept, so that nobody is held up. Shared with the work.
class ProgressMailbox : public std::enable_shared_from_this<ProgressMailbox> {
 public:
  ProgressMailbox(asio::any_io_executor executor, ProgressFn tell)
      : executor_(std::move(executor)), tell_(std::move(tell)) {}
  // On any thread.
  void Put(ProgressUpdate update);
  // On the executor's thread: nothing is told from then on.
  void Close() { tell_ = nullptr; }

 private:
  asio::any_io_executor executor_;
  ProgressFn tell_;
  std::mutex mutex_;
  ProgressUpdate newest_;
  bool posted_ = false;
};

}  // namespace cleanroom::server
