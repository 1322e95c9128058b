#include "registry/registry.h"

#include <gtest/gtest.h>

#include "base/sha256/digest.h"
#include "tests/support/command.h"

namespace cleanroom::registry {
namespace {

using testing::Background;
using testing::RunScript;

// A scripted peer (tests/support/odd_registry.py): a healthy registry does not fail on demand.
class RegistryTest : public ::testing::Test {
 protected:
  // Fetches manifest and config blob; "ok" or the error.
  std::string Fetch(const std::string& mode) {
    Background server({"python3", CLEANROOM_SOURCE "/tests/support/odd_registry.py", mode},
                      "listening on ");
    const ImageRef ref{.registry = server.found(), .repository = "r", .tag = "v", .digest = {}};
    const RegistryOptions options{.retry_delay = std::chrono::milliseconds(1)};
    Registry registry(options, ref);
    const std::string verdict = [&]() -> std::string {
      const auto manifest = registry.GetManifest("v", {});
      if (!manifest) return manifest.error().ToString();
      const auto document = ParseDocument(manifest->bytes, {});
      if (!document) return document.error().ToString();
      const auto config = registry.GetSmallBlob(document->manifest->config, {});
      if (!config) return config.error().ToString();
      return DigestOf(*config) == document->manifest->config.digest ? "ok" : "other bytes";
    }();
    log_ = RunScript("curl -fsS http://" + server.found() + "/log").output;
    return verdict;
  }
  std::string log_;
};

TEST_F(RegistryTest, TokensAreFetchedAndStayWithTheirHost) {
  EXPECT_EQ(Fetch("plain"), "ok");
  EXPECT_NE(
      log_.find("/v2/r/manifests/v - anonymous\n/token - anonymous\n/v2/r/manifests/v - auth"),
      std::string::npos)
      << log_;
  EXPECT_NE(log_.find("/elsewhere - anonymous"), std::string::npos) << log_;
  EXPECT_EQ(log_.find("/elsewhere - auth"), std::string::npos) << log_;
}

TEST_F(RegistryTest, TransientFailuresAreRetried) {
  EXPECT_EQ(Fetch("busy"), "ok") << log_;
  EXPECT_TRUE(Fetch("down").starts_with("upstream_error: image ")) << log_;
}

TEST_F(RegistryTest, ABrokenDownloadGoesOnWhereItStopped) {
  EXPECT_EQ(Fetch("broken"), "ok") << log_;
  EXPECT_NE(log_.find("/elsewhere bytes="), std::string::npos) << log_;
}

TEST_F(RegistryTest, BadAnswersAreNamed) {
  EXPECT_TRUE(Fetch("refuse").starts_with("unauthenticated: ")) << log_;
  EXPECT_TRUE(Fetch("long").starts_with("data_corrupt: ")) << log_;
  EXPECT_TRUE(Fetch("loop").starts_with("upstream_error: ")) << log_;
  EXPECT_TRUE(Fetch("downgrade").starts_with("failed_precondition: ")) << log_;
}

TEST_F(RegistryTest, StoppingEndsTheWait) {
  std::stop_source stop;
  stop.request_stop();
  Registry registry({.retry_delay = std::chrono::hours(1)},
                    {.registry = "127.0.0.1:1", .repository = "r", .tag = "v", .digest = {}});
  const auto manifest = registry.GetManifest("v", stop.get_token());
  ASSERT_FALSE(manifest);
  EXPECT_EQ(manifest.error().code(), ErrorCode::kCanceled);
}

}  // namespace
}  // namespace cleanroom::registry
