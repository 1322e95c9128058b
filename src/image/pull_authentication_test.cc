// Credentials of all kinds, against a real docker-registry with htpasswd and with token
// authentication.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <optional>

#include "base/testing/result_matchers.h"
#include "base/text_coding.h"
#include "image/pull.h"
#include "os/scratch.h"
#include "registry/authenticator.h"
#include "tests/support/command.h"
#include "tests/support/docker_registry.h"

namespace cleanroom::registry {
namespace {

using testing::Background;
using testing::DockerRegistry;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::RunScript;
using ::testing::StartsWith;
using testing::TestFolder;

class AuthenticatorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.credentials.files = {folder_ / "config.json"};
    path_ = std::getenv("PATH");
    ::setenv("PATH", (folder_.path() + ":" + path_).c_str(), 1);
  }
  void TearDown() override { ::setenv("PATH", path_.c_str(), 1); }

  void Config(const std::string& json) { std::ofstream(folder_ / "config.json") << json; }
  void Helper(const std::string& name, const std::string& script) {
    const std::string file = folder_ / ("docker-credential-" + name);
    std::ofstream(file) << "#!/bin/bash\n" << script;
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  }

  // "ok", or the error; keeps everything that was said.
  std::string Try(const std::string& host, const std::string& repository) {
    Registry registry(options_,
                      {.registry = host, .repository = repository, .tag = "v", .digest = {}});
    const auto manifest = registry.GetManifest("v", {});
    std::string verdict = manifest ? "ok" : manifest.error().ToString();
    if (manifest) {
      const auto document = ParseDocument(manifest->bytes, {});
      const auto config = registry.GetSmallBlob(document->manifest->config, {});
      if (!config) verdict = config.error().ToString();
    }
    if (!manifest) remedy_ = manifest.error().remedy();
    said_ += verdict + "\n";
    return verdict;
  }

  TestFolder folder_;
  RegistryOptions options_{.retry_delay = std::chrono::milliseconds(1)};
  std::string path_;
  std::string said_;
  std::string remedy_;
};

TEST_F(AuthenticatorTest, Basic) {
  DockerRegistry registry(testing::RequirePassword(folder_));
  registry.PushSmall("team/app:v", "--dest-creds user:s3cret");
  const std::string host = registry.host();
  const auto entry = [](const std::string& key, const std::string& value) {
    return R"({"auths":{")" + key + "\":" + value + "}}";
  };
  const std::string good = R"({"auth":"dXNlcjpzM2NyZXQ="})";

  // No file, no entry, another host's entry.
  EXPECT_THAT(Try(host, "team/app"), StartsWith("unauthenticated: "));
  EXPECT_THAT(said_, HasSubstr("docker login " + host));
  EXPECT_THAT(remedy_, HasSubstr("skopeo login " + host));
  Config(entry("other.example", good));
  EXPECT_THAT(Try(host, "team/app"), StartsWith("unauthenticated: "));
  // Every form of key and value.
  for (const std::string& key :
       {host, "http://" + host, "https://" + host + "/v1/", host + "/team", host + "/team/app"}) {
    Config(entry(key, good));
    EXPECT_EQ(Try(host, "team/app"), "ok") << key;
  }
  Config(entry(host, R"({"username":"user","password":"s3cret"})"));
  EXPECT_EQ(Try(host, "team/app"), "ok");
  // The most specific decides.
  Config(R"({"auths":{")" + host + R"(":)" + good + R"(,")" + host +
         R"(/team":{"username":"user","password":"wr0ng"}}})");
  EXPECT_THAT(Try(host, "team/app"), StartsWith("unauthenticated: "));
  EXPECT_THAT(said_, HasSubstr("the credentials are those of " + (folder_ / "config.json")));
  // A second file is looked at when the first knows nothing.
  std::ofstream(folder_ / "auth.json") << entry(host, good);
  Config("{}");
  options_.credentials.files.push_back(folder_ / "auth.json");
  EXPECT_EQ(Try(host, "team/app"), "ok");
  EXPECT_THAT(said_, Not(HasSubstr("wr0ng")));
}

TEST_F(AuthenticatorTest, CredentialHelpers) {
  DockerRegistry registry(testing::RequirePassword(folder_));
  registry.PushSmall("team/app:v", "--dest-creds user:s3cret");
  const std::string host = registry.host();
  Helper("good",
         "read -r server; echo \"$1 $server\" >>" + (folder_ / "asked") +
             "; echo '{\"ServerURL\":\"'$server'\",\"Username\":\"user\",\"Secret\":\"s3cret\"}'");
  Helper("none", "echo 'credentials not found in native keychain'; exit 1");
  Helper("fails", "echo s3cret; echo s3cret >&2; exit 3");
  Helper("nonsense", "echo s3cret");
  Helper("hangs", "echo $$ >" + (folder_ / "pid") + "; sleep 1000; true");

  Config(R"({"credHelpers":{")" + host + R"(":"good"},"credsStore":"fails"})");
  EXPECT_EQ(Try(host, "team/app"), "ok");
  EXPECT_EQ(*os::ReadFile(folder_ / "asked", 1000),
            "get " + host + "\n");  // once for two requests
  Config(R"({"credsStore":"good","credHelpers":{"other.example":"fails"}})");
  EXPECT_EQ(Try(host, "team/app"), "ok");
  // No credentials there: those of the file itself.
  Config(R"({"credsStore":"none","auths":{")" + host + R"(":{"auth":"dXNlcjpzM2NyZXQ="}}})");
  EXPECT_EQ(Try(host, "team/app"), "ok");

  const auto store = [&](const std::string& name) {
    Config(R"({"credsStore":")" + name + "\"}");
    return Try(host, "team/app");
  };
  EXPECT_THAT(store("none"), HasSubstr("docker login"));
  EXPECT_THAT(store("fails"),
              HasSubstr("the credential helper docker-credential-fails exited with code 3; try `"));
  EXPECT_THAT(store("nonsense"), HasSubstr("its answer is not JSON with Username and Secret"));
  EXPECT_THAT(
      store("missing"),
      HasSubstr("the credential helper docker-credential-missing is not in the daemon's PATH"));
  options_.credentials.helper_timeout = std::chrono::milliseconds(300);
  EXPECT_THAT(store("hangs"), HasSubstr("docker-credential-hangs did not end within 300 ms"));
  // Its group is gone with it: the shell's child too.
  const std::string group = *os::ReadFile(folder_ / "pid", 100);
  EXPECT_EQ(RunScript("for i in $(seq 100); do [ -n \"$(ps -o stat= --sid " +
                      group.substr(0, group.size() - 1) +
                      " | grep -v Z)\" ] || exit 0; sleep 0.1; done; exit 1")
                .status,
            0);
  EXPECT_THAT(said_, Not(HasSubstr("s3cret")));
}

// What is broken matters only where credentials are needed.
TEST_F(AuthenticatorTest, BrokenFilesAndHelpersDoNotKeepFromPublicImages) {
  DockerRegistry open;
  open.PushSmall("team/app:v");
  Config("{ no JSON");
  EXPECT_EQ(Try(open.host(), "team/app"), "ok");
}

class TokenTest : public AuthenticatorTest {
 protected:
  void SetUp() override {
    AuthenticatorTest::SetUp();
    const auto made =
        RunScript("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -keyout " +
                  (folder_ / "key.pem") + " -out " + (folder_ / "cert.pem"));
    ASSERT_EQ(made.status, 0) << made.output;
    tokens_.emplace(
        std::vector<std::string>{"python3", CLEANROOM_SOURCE "/tests/support/token_server.py",
                                 folder_ / "key.pem", folder_ / "cert.pem"},
        "listening on ");
    registry_.emplace("auth:\n  token:\n    realm: http://" + tokens_->found() +
                      "/token\n    service: test-registry\n    issuer: test-issuer\n"
                      "    rootcertbundle: " +
                      (folder_ / "cert.pem") + "\n");
    registry_->PushSmall("private/app:v", "--dest-creds user:s3cret");
    registry_->PushSmall("public/app:v", "--dest-creds user:s3cret");
    log_before_ = Log();
  }
  std::string Log() { return RunScript("curl -fsS http://" + tokens_->found() + "/log").output; }
  // What was asked of the token server by us.
  std::string Asked() {
    std::string log = Log().substr(log_before_.size());
    log_before_ += log;
    return log;
  }
  std::string Try(const std::string& repository) {
    return AuthenticatorTest::Try(registry_->host(), repository);
  }
  void Auth(const std::string& value) {
    Config(R"({"auths":{")" + registry_->host() + "\":" + value + "}}");
  }

  std::optional<Background> tokens_;
  std::optional<DockerRegistry> registry_;
  std::string log_before_;
};

TEST_F(TokenTest, AnonymousBasicAndIdentityTokens) {
  EXPECT_EQ(Try("public/app"), "ok");
  EXPECT_EQ(Asked(), "\nGET anonymous repository:public/app:pull");
  EXPECT_THAT(Try("private/app"), StartsWith("unauthenticated: "));
  EXPECT_THAT(said_, HasSubstr("gives no token for private/app; log in with `docker login"));
  Asked();

  Auth(R"({"auth":"dXNlcjpzM2NyZXQ="})");
  EXPECT_EQ(Try("private/app"), "ok");
  EXPECT_EQ(Asked(), "\nGET basic repository:private/app:pull");
  Auth(R"({"username":"user","password":"wr0ng"})");
  EXPECT_THAT(Try("private/app"), StartsWith("unauthenticated: "));
  Asked();

  Auth(R"({"identitytoken":"r3fresh"})");
  EXPECT_EQ(Try("private/app"), "ok");
  EXPECT_EQ(Asked(), "\nPOST refresh repository:private/app:pull");
  Auth(R"({"identitytoken":"wr0ng"})");
  EXPECT_THAT(Try("private/app"), StartsWith("unauthenticated: "));
  Helper("token", "echo '{\"Username\":\"<token>\",\"Secret\":\"r3fresh\"}'");
  Config(R"({"credsStore":"token"})");
  EXPECT_EQ(Try("private/app"), "ok");

  // A token for the registry itself: the server is not asked.
  Asked();
  const auto token = RunScript("curl -fsS -u user:s3cret 'http://" + tokens_->found() +
                               "/token?service=test-registry&scope=repository:private/app:pull' "
                               "| jq -rj .token");
  ASSERT_EQ(token.status, 0) << token.output;
  Asked();
  Auth(R"({"registrytoken":")" + token.output + "\"}");
  EXPECT_EQ(Try("private/app"), "ok");
  EXPECT_EQ(Asked(), "");
  Auth(R"({"registrytoken":"wr0ng"})");
  EXPECT_THAT(Try("private/app"), StartsWith("unauthenticated: "));
  for (const char* secret : {"s3cret", "r3fresh", "wr0ng", "dXNlcjpzM2NyZXQ="})
    EXPECT_THAT(said_, Not(HasSubstr(secret)));
}

TEST_F(TokenTest, ABrokenHelperIsToldWhenItMattered) {
  Helper("fails", "exit 3");
  Config(R"({"credsStore":"fails"})");
  EXPECT_EQ(Try("public/app"), "ok");
  EXPECT_THAT(Try("private/app"), HasSubstr("docker-credential-fails exited with code 3"));
}

// A whole pull with the download threads, and what it leaves on the disk.
TEST_F(TokenTest, RecordsHoldNoCredentials) {
  Auth(R"({"auth":"dXNlcjpzM2NyZXQ="})");
  const auto store = image::ImageStore::Open(folder_ / "cache");
  const auto record =
      image::Pull(*store, options_, *ImageRef::Parse(registry_->host() + "/private/app:v"), {});
  ASSERT_THAT(record, IsOk());
  EXPECT_NE(
      RunScript("grep -rlaF -e s3cret -e dXNlcjpzM2NyZXQ= -e Bearer " + (folder_ / "cache")).status,
      0);
  EXPECT_EQ(RunScript("grep -rlaF private/app " + (folder_ / "cache/images")).status, 0);
}

TEST_F(AuthenticatorTest, AServerThatRepeatsCredentialsDoesNotPutThemIntoErrors) {
  Background server({"python3", CLEANROOM_SOURCE "/tests/support/odd_registry.py", "echo"},
                    "listening on ");
  Config(R"({"auths":{")" + server.found() + R"(":{"auth":"dXNlcjpzM2NyZXQ="}}})");
  EXPECT_THAT(Try(server.found(), "r"),
              HasSubstr("answers with status 403: you sent Bearer … and Basic …"));
}

TEST_F(AuthenticatorTest, ASecretThatLooksLikeWhatHidesItIsHiddenOnce) {
  Background server({"python3", CLEANROOM_SOURCE "/tests/support/odd_registry.py", "echo"},
                    "listening on ");
  Config(R"({"auths":{")" + server.found() + R"(":{"auth":")" +
         Base64Encode("user:…", Padding::kEquals) + R"("}}})");
  EXPECT_THAT(Try(server.found(), "r"), HasSubstr("answers with status 403: you sent Bearer …"));
}

}  // namespace
}  // namespace cleanroom::registry
