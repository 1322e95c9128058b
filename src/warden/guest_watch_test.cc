#include "warden/guest_watch.h"

#include <gtest/gtest.h>

#include <optional>

#include "cleanroom/internal/v1/guest.fake.h"
#include "rpc/testing/link.h"

namespace cleanroom::warden {
namespace {

namespace pb = ::cleanroom::internal::v1;
using std::chrono::milliseconds;

struct Guest final : pb::FakeGuestService {
  Awaitable<Result<pb::PingResponse>> Ping(rpc::CallContext&, pb::PingRequest) override {
    ++asked;
    while (frozen) {
      auto slept = co_await SleepFor(milliseconds(1));
      if (!slept) co_return Err(std::move(slept).error());
    }
    co_return pb::PingResponse();
  }

  bool frozen = false;
  int asked = 0;
};

class GuestWatchTest : public testing::Test {
 protected:
  GuestWatchTest() {
    guest_.Register(router_);
    link_.emplace(router_);
    watch_.emplace(link_->io().get_executor());
    watch_->set_silence(milliseconds(80));
  }
  // The link's own channel, which outlives the watch.
  std::shared_ptr<rpc::Channel> Agent() { return {std::shared_ptr<void>(), &link_->channel()}; }
  static Awaitable<void> Watch(GuestWatch& watch, std::shared_ptr<rpc::Channel> agent,
                               std::optional<GuestWatch::Outcome>* out) {
    const GuestWatch::Outcome outcome = co_await watch.Wait(std::move(agent));
    *out = outcome;
  }
  static Awaitable<void> Sleep(milliseconds time) {
    auto slept = co_await SleepFor(time);
    (void)slept;
  }

  Guest guest_;
  rpc::Router router_;
  std::optional<rpc::TestLink> link_;
  std::optional<GuestWatch> watch_;
  std::optional<GuestWatch::Outcome> outcome_;
};

TEST_F(GuestWatchTest, AGuestThatAnswersIsAskedAgainAndNeverGivenUp) {
  watch_->Begin();
  link_->scope().Spawn(Watch(*watch_, Agent(), &outcome_));
  link_->Run(Sleep(milliseconds(300)));
  EXPECT_FALSE(outcome_.has_value());
  EXPECT_GE(guest_.asked, 3);
  link_->scope().Cancel();
  link_->Run(Sleep(milliseconds(1)));
}

TEST_F(GuestWatchTest, OneThatDoesNotIsGivenUpAfterTheSilence) {
  guest_.frozen = true;
  watch_->Begin();
  const auto begin = std::chrono::steady_clock::now();
  link_->Run(Watch(*watch_, Agent(), &outcome_));
  EXPECT_EQ(outcome_, GuestWatch::Outcome::kSilent);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, watch_->silence());
}

TEST_F(GuestWatchTest, OneThatNothingWaitsForIsNotAsked) {
  guest_.frozen = true;
  link_->scope().Spawn(Watch(*watch_, Agent(), &outcome_));
  link_->Run(Sleep(milliseconds(200)));
  EXPECT_EQ(guest_.asked, 0);
  EXPECT_FALSE(outcome_.has_value());
  // What began and has been given up meanwhile leaves the question open until it is answered.
  watch_->Begin();
  link_->Run(Sleep(milliseconds(60)));
  watch_->End();
  link_->Run(Sleep(milliseconds(100)));
  EXPECT_EQ(outcome_, GuestWatch::Outcome::kSilent);
}

TEST_F(GuestWatchTest, ALostLinkIsNoticedByTheNextThatWaits) {
  link_->scope().Spawn(Watch(*watch_, Agent(), &outcome_));
  link_->Run(link_->channel().Close());
  EXPECT_FALSE(outcome_.has_value());
  watch_->Begin();
  link_->Run(Sleep(milliseconds(1)));
  EXPECT_EQ(outcome_, GuestWatch::Outcome::kLinkLost);
}

}  // namespace
}  // namespace cleanroom::warden
