#include "server/app/serve_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/backends/backends.h"

namespace cleanroom::server {
namespace {

TEST(ServeOptionsTest, SaysWhatHasNoEffect) {
  EXPECT_TRUE(WithoutEffect(config::Config()).empty());
  config::Config config;
  config.default_backend = "firecracker";
  config.gateway.fetch_hosts = {"example.com"};
  config.cache.max_bytes = 1 << 30;
  config.cache.peers = {"http://peer.example:1"};
  config.observability.otlp = "http://collector.example:4317";
  EXPECT_THAT(WithoutEffect(config),
              testing::ElementsAre("default_backend: firecracker", "gateway", "cache.max_bytes",
                                   "cache.peers", "observability.otlp"));
}

TEST(ServeOptionsTest, HoldingHasAnEffectWhereTheBuildCan) {
  config::Config config;
  config.pool.hold = false;
  EXPECT_TRUE(WithoutEffect(config).empty());
  config.pool.hold = true;
  EXPECT_EQ(WithoutEffect(config).empty(), vmm::AnyCanHold());
}

}  // namespace
}  // namespace cleanroom::server
