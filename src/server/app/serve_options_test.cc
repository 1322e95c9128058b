#include "server/app/serve_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace cleanroom::server
