#include "vmm/backend.h"

#include <gtest/gtest.h>

namespace cleanroom::vmm {
namespace {

TEST(BackendTest, KnownNames) {
  EXPECT_TRUE(CheckBackendName("qemu"));
  for (const char* name : {"firecracker", "darwin-vz"}) {
    EXPECT_EQ(CheckBackendName(name).error().code(), ErrorCode::kBackendUnavailable) << name;
  }
  EXPECT_EQ(CheckBackendName("vmware").error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace cleanroom::vmm
