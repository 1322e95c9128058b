// GuestWatch: notices a guest that does not answer any more, or cannot, while something waits for
// it. One that nothing waits for is not asked: each question costs an idle machine some work.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "base/async.h"
#include "rpc/client.h"

namespace cleanroom::warden {

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

  enum class Outcome : uint8_t {
    kSilent,     // the guest has not answered for the whole silence
    kLinkLost,   // the agent's channel has ended; noticed when something waits for the guest
    kCancelled,  // the task
  };
  Awaitable<Outcome> Wait(std::shared_ptr<rpc::Channel> agent);

 private:
  std::chrono::milliseconds silence_ = kGuestSilence;
  int waiting_ = 0;
  Notifier changed_;
};

}  // namespace cleanroom::warden
