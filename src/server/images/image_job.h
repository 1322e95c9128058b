// ImageJob: one long operation on images, run on a pool, watched by any number of tasks.
//
// The operation's progress arrives on threads of its own; here it is a value that the watchers read
// when changed() says so, so that a slow watcher holds nothing up. Lives on the control plane's
// thread, shared by the watchers and the running operation.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>

#include "base/async.h"
#include "image/control.h"
#include "image/store.h"
#include "server/launch/launch_resources.h"

namespace cleanroom::server {

struct ImageOutcome {
  image::ImageRecord record;
  bool was_present = false;
};

class ImageJob : public std::enable_shared_from_this<ImageJob> {
 public:
  using Work = std::function<Result<ImageOutcome>(const image::Control&)>;

  explicit ImageJob(asio::any_io_executor executor) : executor_(executor), changed_(executor) {}

  // Runs the work to its end, on the pool. Once.
  Awaitable<void> Run(BlockingPool& pool, Work work);

  // Waits for the outcome and tells progress on the way. kCanceled when the task is cancelled: the
  // work goes on unless Stop is called.
  Awaitable<Result<ImageOutcome>> Watch(ProgressFn progress);

  // Asks the work to end soon, with kCanceled.
  void Stop() { stop_.request_stop(); }
  bool done() const { return outcome_.has_value(); }
  const ProgressUpdate& progress() const { return progress_; }
  Notifier& changed() { return changed_; }
  const std::optional<Result<ImageOutcome>>& outcome() const { return outcome_; }

  size_t watchers = 0;  // for whoever shares jobs

 private:
  asio::any_io_executor executor_;
  Notifier changed_;
  std::stop_source stop_;
  ProgressUpdate progress_;
  std::optional<Result<ImageOutcome>> outcome_;
};

}  // namespace cleanroom::server
