// Progress: what the daemon is doing, on standard error while one waits.
//
// On a terminal one line with a spinner, drawn only when the wait is long enough to notice and
// wiped at the end; elsewhere plain lines, and only when asked for (--log-level info), so that
// standard error is the guest's.
#pragma once

#include <chrono>
#include <string>

#include "base/async.h"
#include "cleanroom/v1/sandbox.pb.h"

namespace cleanroom::cli {

// What fits the flags and standard error.
enum class ProgressStyle { kNone, kLines, kSpinner };

class Progress {
 public:
  Progress(asio::any_io_executor executor, ProgressStyle style);
  // Draws until Finish.
  void Start();
  void Update(const v1::Progress& progress);
  // Wipes the line. Nothing is drawn afterwards.
  Awaitable<void> Finish();

 private:
  Awaitable<void> Spin();
  void Draw();

  ProgressStyle style_;
  TaskScope scope_;
  std::chrono::steady_clock::time_point started_;
  std::string text_;
  std::string last_line_;
  size_t frame_ = 0;
  bool drawn_ = false;
};

// "image: layer 2 of 3 (12.0 MiB of 45.1 MiB)".
std::string DescribeProgress(const v1::Progress& progress);

}  // namespace cleanroom::cli
