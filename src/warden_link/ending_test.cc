#include "warden_link/ending.h"

#include <gtest/gtest.h>

namespace cleanroom::warden_link {
namespace {

TEST(EndingTest, CodeAndMessageTravelApart) {
  const Error why(ErrorCode::kDeadlineExceeded, "not_found: the guest has not answered");
  pb::WardenState state;
  EXPECT_FALSE(WhyEnded(state));
  SetWhy(why, state);
  EXPECT_EQ(state.reason(), "");
  EXPECT_EQ(WhyEnded(state)->ToString(), why.ToString());
  EXPECT_EQ(WhyEnded(state)->code(), why.code());
  const auto lost = WhyLost(LostCommand(why));
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->code(), why.code());
  EXPECT_EQ(lost->message(), why.message());
}

TEST(EndingTest, WardensOfEarlierReleasesAreUnderstood) {
  pb::WardenState state;
  state.set_reason("runtime_launch_failed: the virtual machine exited: 1");
  EXPECT_EQ(WhyEnded(state)->code(), ErrorCode::kRuntimeLaunchFailed);
  EXPECT_EQ(WhyEnded(state)->message(), "the virtual machine exited: 1");
  state.set_reason("no code: at all");
  EXPECT_EQ(WhyEnded(state)->ToString(), "unavailable: no code: at all");

  pb::ExecutionEnd end;
  end.set_cause(pb::ExecutionEnd::CAUSE_LOST);
  end.set_message("unavailable: the machine ended");
  EXPECT_EQ(WhyLost(end)->message(), "the machine ended");
  EXPECT_EQ(WhyLost(end)->code(), ErrorCode::kUnavailable);
}

// What a guest says is not taken for an error of ours.
TEST(EndingTest, TheMessageOfAnExitStandsForItself) {
  pb::ExecutionEnd end;
  end.set_cause(pb::ExecutionEnd::CAUSE_EXITED);
  end.set_message("unavailable: I say");
  EXPECT_FALSE(WhyLost(end));
}

}  // namespace
}  // namespace cleanroom::warden_link
