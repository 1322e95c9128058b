#include "warden/guest_watch.h"

#include "cleanroom/internal/v1/guest.rpc.h"

namespace cleanroom::warden {
namespace {

namespace pb = ::cleanroom::internal::v1;
using std::chrono::steady_clock;

// One question that is not answered in its part of the silence is not enough: this process itself
// may have been stopped meanwhile.
constexpr int kQuestions = 2;
constexpr int kPauses = 8;  // in a silence

}  // namespace

void GuestWatch::Begin() {
  ++waiting_;
  changed_.NotifyAll();
}

void GuestWatch::End() { --waiting_; }

Awaitable<GuestWatch::Outcome> GuestWatch::Wait(std::shared_ptr<rpc::Channel> agent) {
  int unanswered = 0;
  while (agent->alive()) {
    while (waiting_ == 0 && unanswered == 0) {
      co_await changed_.Wait();
      const bool cancelled = co_await Cancelled();
      if (cancelled) co_return Outcome::kCancelled;
    }
    if (!agent->alive()) break;
    if (unanswered == 0) {
      // Most of what waits is over before that.
      auto slept = co_await SleepFor(silence_ / kPauses);
      if (!slept) co_return Outcome::kCancelled;
      if (waiting_ == 0) continue;
    }
    auto answer = co_await pb::GuestStub(*agent).Ping(
        {}, {.deadline = steady_clock::now() + silence_ / kQuestions});
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Outcome::kCancelled;
    const bool silent = !answer && answer.error().code() == ErrorCode::kDeadlineExceeded;
    unanswered = silent ? unanswered + 1 : 0;
    if (unanswered == kQuestions) co_return Outcome::kSilent;
  }
  co_return Outcome::kLinkLost;
}

}  // namespace cleanroom::warden
