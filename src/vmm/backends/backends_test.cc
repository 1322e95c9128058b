#include "vmm/backends/backends.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/result_matchers.h"

namespace cleanroom::vmm {
namespace {

TEST(BackendsTest, KnownNames) {
  EXPECT_TRUE(CheckBackendName("qemu"));
  const auto backend = OpenBackend("qemu");
  ASSERT_THAT(backend, IsOk());
  EXPECT_EQ((*backend)->name(), "qemu");
  for (const char* name : {"firecracker", "darwin-vz"}) {
    EXPECT_EQ(CheckBackendName(name).error().code(), ErrorCode::kBackendUnavailable) << name;
    EXPECT_EQ(OpenBackend(name).error().code(), ErrorCode::kBackendUnavailable) << name;
  }
  EXPECT_EQ(CheckBackendName("vmware").error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(OpenBackend("vmware").error().code(), ErrorCode::kInvalidArgument);
}

// What is held must be worth it, and possible.
TEST(BackendsTest, OnlyEmulatedMachinesAreHeld) {
  const auto bare = OpenBackend("qemu");
  const auto able = OpenBackend("qemu", {.qemu = {.preload = "/p.so"}});
  ASSERT_TRUE(bare && able);
  EXPECT_FALSE((*bare)->CanHold(Accelerator::kTcg));
  EXPECT_EQ((*able)->CanHold(Accelerator::kTcg), AnyCanHold());
  EXPECT_FALSE((*able)->CanHold(Accelerator::kKvm));
}

}  // namespace
}  // namespace cleanroom::vmm
