#include "client/environment.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "os/file.h"

namespace cleanroom::client {
namespace {

class EnvironmentTest : public testing::Test {
 protected:
  void SetUp() override {
    auto folder = os::TempDir::Create();
    ASSERT_TRUE(folder.has_value());
    folder_.emplace(std::move(*folder));
    setenv("XDG_CONFIG_HOME", folder_->path().c_str(), 1);
    setenv("XDG_RUNTIME_DIR", (folder_->path() + "/run").c_str(), 1);
    for (const char* name : {"CLEANROOM_HOST", "CLEANROOM_TLS_CA", "CLEANROOM_AUTH_TOKEN"})
      unsetenv(name);
  }
  void WriteConfig(const std::string& text) {
    ASSERT_TRUE(os::MakeDirs(folder_->path() + "/cleanroom").has_value());
    ASSERT_TRUE(os::WriteFileAtomic(folder_->path() + "/cleanroom/config.yaml", text).has_value());
  }
  std::optional<os::TempDir> folder_;
};

TEST_F(EnvironmentTest, FlagThenVariableThenConfig) {
  WriteConfig("control_host: http://from-config:1\n");
  EXPECT_EQ(OptionsFromEnvironment().value().url, "http://from-config:1");
  setenv("CLEANROOM_HOST", "http://from-variable:2", 1);
  EXPECT_EQ(OptionsFromEnvironment().value().url, "http://from-variable:2");
  EXPECT_EQ(OptionsFromEnvironment({.url = "http://from-flag:3"}).value().url,
            "http://from-flag:3");
}

TEST_F(EnvironmentTest, ABrokenConfigIsToldOnlyWhenItCounts) {
  WriteConfig("no_such_key: 1\n");
  EXPECT_FALSE(OptionsFromEnvironment().has_value());
  EXPECT_TRUE(OptionsFromEnvironment({.url = "unix:///x"}).has_value());
}

TEST_F(EnvironmentTest, TokenAndAuthoritiesComeFromVariablesUnlessGiven) {
  setenv("CLEANROOM_TLS_CA", "/ca.pem", 1);
  setenv("CLEANROOM_AUTH_TOKEN", "token", 1);
  const auto options = OptionsFromEnvironment({.url = "https://h", .auth_token = "mine"});
  ASSERT_TRUE(options.has_value());
  EXPECT_EQ(options->tls_ca, "/ca.pem");
  EXPECT_EQ(options->auth_token, "mine");
}

TEST_F(EnvironmentTest, AuthoritiesInTheConfigFolderAreTrustedForHttps) {
  const std::string ca = folder_->path() + "/cleanroom/tls/ca.pem";
  EXPECT_EQ(OptionsFromEnvironment({.url = "https://h"}).value().tls_ca, "");
  ASSERT_TRUE(os::MakeDirs(folder_->path() + "/cleanroom/tls").has_value());
  ASSERT_TRUE(os::WriteFileAtomic(ca, "x").has_value());
  EXPECT_EQ(OptionsFromEnvironment({.url = "https://h"}).value().tls_ca, ca);
  EXPECT_EQ(OptionsFromEnvironment({.url = "http://h"}).value().tls_ca, "");
  EXPECT_EQ(OptionsFromEnvironment({.url = "https://h", .tls_ca = "/mine"}).value().tls_ca,
            "/mine");
  setenv("CLEANROOM_TLS_CA", "/variable", 1);
  EXPECT_EQ(OptionsFromEnvironment({.url = "https://h"}).value().tls_ca, "/variable");
}

}  // namespace
}  // namespace cleanroom::client
