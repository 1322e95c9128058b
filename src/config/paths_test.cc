#include "config/paths.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace cleanroom::config {
namespace {

Environment Make(uid_t uid, std::map<std::string, std::string, std::less<>> variables) {
  return {[variables](std::string_view name) -> std::optional<std::string> {
            const auto found = variables.find(name);
            if (found == variables.end()) return std::nullopt;
            return found->second;
          },
          uid};
}

TEST(ResolvePaths, PutsAUserBelowHome) {
  const auto paths =
      ResolvePaths(Make(1000, {{"HOME", "/home/u"}, {"XDG_RUNTIME_DIR", "/run/user/1000"}}));
  ASSERT_TRUE(paths);
  EXPECT_EQ(paths->config_file, "/home/u/.config/cleanroom/config.yaml");
  EXPECT_EQ(paths->tls_dir, "/home/u/.config/cleanroom/tls");
  EXPECT_EQ(paths->cache_dir, "/home/u/.cache/cleanroom");
  EXPECT_EQ(paths->state_dir, "/home/u/.local/state/cleanroom");
  EXPECT_EQ(paths->runtime_dir, "/run/user/1000/cleanroom");
  EXPECT_EQ(paths->socket, "/run/user/1000/cleanroom/cleanroom.sock");
}

TEST(ResolvePaths, PutsRootInTheSystem) {
  const auto paths = ResolvePaths(Make(0, {{"HOME", "/root"}}));
  ASSERT_TRUE(paths);
  EXPECT_EQ(paths->config_file, "/root/.config/cleanroom/config.yaml");
  EXPECT_EQ(paths->cache_dir, "/var/cache/cleanroom");
  EXPECT_EQ(paths->state_dir, "/var/lib/cleanroom");
  EXPECT_EQ(paths->socket, "/run/cleanroom/cleanroom.sock");
  EXPECT_EQ(ResolvePaths(Make(0, {}))->config_file, "/etc/cleanroom/config.yaml");
}

TEST(ResolvePaths, HonoursAbsoluteXdgVariables) {
  for (uid_t uid : {0, 1000}) {
    const auto paths = ResolvePaths(Make(uid, {{"XDG_CONFIG_HOME", "/c"},
                                               {"XDG_CACHE_HOME", "/k"},
                                               {"XDG_STATE_HOME", "/s"},
                                               {"XDG_RUNTIME_DIR", "/r"}}));
    ASSERT_TRUE(paths);
    EXPECT_EQ(paths->config_file, "/c/cleanroom/config.yaml");
    EXPECT_EQ(paths->cache_dir, "/k/cleanroom");
    EXPECT_EQ(paths->state_dir, "/s/cleanroom");
    EXPECT_EQ(paths->socket, "/r/cleanroom/cleanroom.sock");
  }
  const auto relative =
      ResolvePaths(Make(1000, {{"HOME", "/h"}, {"XDG_STATE_HOME", "s"}, {"XDG_RUNTIME_DIR", ""}}));
  ASSERT_TRUE(relative);
  EXPECT_EQ(relative->state_dir, "/h/.local/state/cleanroom");
  EXPECT_EQ(relative->runtime_dir, "/h/.local/state/cleanroom/run");
}

TEST(ResolvePaths, NeedsAHome) {
  const auto paths = ResolvePaths(Make(1000, {{"XDG_CONFIG_HOME", "/c"}}));
  ASSERT_FALSE(paths);
  EXPECT_EQ(paths.error().message(),
            "neither HOME nor XDG_CACHE_HOME is set to an absolute path; set HOME");
}

}  // namespace
}  // namespace cleanroom::config
