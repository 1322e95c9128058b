#include "capability/capability.h"

#include <gtest/gtest.h>

namespace cleanroom::capability {
namespace {

TEST(CapabilityTest, NothingIsAvailableUnlessSaid) {
  Capabilities some = NoCapabilities();
  EXPECT_TRUE(some.contains(kDocker));
  for (const auto& [name, available] : some) EXPECT_FALSE(available) << name;
  const size_t all = some.size();
  Add({kDocker, kTtl}, some);
  for (const auto& [name, available] : some) {
    EXPECT_EQ(available, name == kDocker || name == kTtl) << name;
  }
  EXPECT_EQ(some.size(), all) << "no owner has a name of its own";
}

}  // namespace
}  // namespace cleanroom::capability
