#include "server/launch/launch_plan.h"

#include <gtest/gtest.h>

namespace cleanroom::server {
namespace {

TEST(LaunchPlanTest, TheLargestWishWins) {
  Settings settings;
  settings.vcpus = 2;
  settings.memory_mib = 1024;
  settings.disk_mib = 8192;
  const auto size = ResolveSize({.vcpus = 1, .memory_mib = 4096, .disk_mib = 0},
                                {.vcpus = 4, .memory_mib = 2048, .disk_mib = 0}, settings);
  ASSERT_TRUE(size);
  EXPECT_EQ(size->vcpus, 4);
  EXPECT_EQ(size->memory_mib, 4096);
  EXPECT_EQ(size->disk_mib, 8192);
}

TEST(LaunchPlanTest, RefusesAbsurdWishes) {
  for (const Wishes& wishes : {Wishes{.vcpus = -1}, Wishes{.vcpus = 65}, Wishes{.memory_mib = -5},
                               Wishes{.disk_mib = int64_t{1} << 40}}) {
    const auto size = ResolveSize(wishes, {}, {});
    ASSERT_FALSE(size);
    EXPECT_EQ(size.error().code(), ErrorCode::kInvalidArgument);
  }
}

TEST(LaunchPlanTest, RefusalsNameTheFieldInTheUsersUnits) {
  EXPECT_EQ(ResolveSize({}, {.memory_mib = int64_t{2} << 20}, {}).error().message(),
            "sandbox.resources.memory asks for 2048 GiB; a sandbox has at most 1024 GiB");
  EXPECT_EQ(ResolveSize({.vcpus = 65}, {}, {}).error().message(),
            "options.vcpus asks for 65; a sandbox has at most 64");
}

TEST(LaunchPlanTest, BootLimitOfRequestThenHost) {
  Settings settings;
  settings.launch_seconds = 30;
  EXPECT_EQ(ResolveBootLimit(0, settings), std::chrono::seconds(30));
  EXPECT_EQ(ResolveBootLimit(5, settings), std::chrono::seconds(5));
  EXPECT_FALSE(ResolveBootLimit(-1, settings));
  EXPECT_FALSE(ResolveBootLimit(3601, settings));
}

TEST(LaunchPlanTest, WhereBootsMayTakeLongerSoMayAllElse) {
  Settings settings;
  EXPECT_EQ(OnThisHost(std::chrono::seconds(10), settings), std::chrono::seconds(10));
  settings.launch_seconds = 5;
  EXPECT_EQ(OnThisHost(std::chrono::seconds(10), settings), std::chrono::seconds(10));
  settings.launch_seconds = 120;
  EXPECT_EQ(OnThisHost(std::chrono::seconds(10), settings), std::chrono::seconds(40));
}

}  // namespace
}  // namespace cleanroom::server
