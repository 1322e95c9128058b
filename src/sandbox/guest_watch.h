// GuestWatch: notices a guest that does not answer any more, while something waits for it. One that
// nothing waits for is not asked: each question costs an idle machine some work.
#pragma once

#include <chrono>
#include <memory>

#include "base/async.h"
#include "rpc/client.h"

namespace cleanroom::sandbox {

// A guest that is busy, or on a busy host, answers late: this is for those that never will.
inline constexpr std::chrono::milliseconds kGuestSilence{120'000};

// Lives on the warden's one thread.
class GuestWatch {
 public:
  explicit GuestWatch(asio::any_io_executor executor) : changed_(std::move(executor)) {}

  void set_silence(std::chrono::milliseconds silence) { silence_ = silence; }
  std::chrono::milliseconds silence() const { return silence_; }
  // Something waits for the guest, until End.
  void Begin();
  void End();

  // True when the guest has not answered for the whole silence; false when the agent's channel has
  // ended or the task is cancelled.
  Awaitable<bool> WaitSilent(std::shared_ptr<rpc::Channel> agent);

 private:
  std::chrono::milliseconds silence_ = kGuestSilence;
  int waiting_ = 0;
  Notifier changed_;
};

}  // namespace cleanroom::sandbox
