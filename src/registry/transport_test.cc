// TLS with private authorities, and plain http on this machine, against a real docker-registry.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "fetch/http_client.h"
#include "registry/registry.h"
#include "tests/support/command.h"
#include "tests/support/docker_registry.h"

namespace cleanroom::registry {
namespace {

using testing::Background;
using testing::DockerRegistry;
using ::testing::HasSubstr;
using testing::RunScript;
using ::testing::StartsWith;
using testing::TestFolder;

constexpr const char* kOddRegistry = CLEANROOM_SOURCE "/tests/support/odd_registry.py";

class TlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"authority", "stranger"}) {
      const auto made = RunScript(
          "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "
          "/CN=" +
          std::string(name) + " -keyout " + (folder_ / name) + ".key -out " + (folder_ / name) +
          ".crt");
      ASSERT_EQ(made.status, 0) << made.output;
    }
    const auto signed_by = RunScript(
        "cd " + folder_.path() +
        " && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server "
        "-keyout "
        "server.key -out server.csr && echo subjectAltName=IP:127.0.0.1 >san && openssl x509 -req "
        "-in server.csr -CA authority.crt -CAkey authority.key -days 2 -extfile san -out "
        "server.crt");
    ASSERT_EQ(signed_by.status, 0) << signed_by.output;
    options_.http.certificate_folders = {folder_ / "missing", folder_ / "certs.d"};
  }
  void Trust(const std::string& host, const std::string& authority) {
    const std::string at = folder_ / ("certs.d/" + host);
    ASSERT_EQ(RunScript("rm -rf " + at + " && mkdir -p " + at + " && cp " + (folder_ / authority) +
                        " " + at + "/ca.crt")
                  .status,
              0);
  }
  std::string Try(const std::string& host, const std::string& repository) {
    Registry registry(options_,
                      {.registry = host, .repository = repository, .tag = "v", .digest = {}});
    const auto manifest = registry.GetManifest("v", {});
    return manifest ? "ok" : manifest.error().ToString();
  }
  TestFolder folder_;
  RegistryOptions options_{.retry_delay = std::chrono::milliseconds(1)};
};

TEST_F(TlsTest, PrivateAuthoritiesAreTrustedForTheirServer) {
  DockerRegistry registry("  tls:\n    certificate: " + (folder_ / "server.crt") +
                          "\n    key: " + (folder_ / "server.key") + "\n");
  registry.PushSmall("app:v");
  const std::string refused = Try(registry.host(), "app");
  EXPECT_THAT(refused, StartsWith("failed_precondition: "));
  EXPECT_THAT(refused, HasSubstr("certificate is not trusted"));
  EXPECT_THAT(refused, HasSubstr((folder_ / "missing/") + registry.host() + "/ca.crt"));
  Trust("127.0.0.1:1", "authority.crt");  // another server's
  EXPECT_THAT(Try(registry.host(), "app"), HasSubstr("certificate is not trusted"));
  Trust(registry.host(), "stranger.crt");
  EXPECT_THAT(Try(registry.host(), "app"), HasSubstr("certificate is not trusted"));
  Trust(registry.host(), "authority.crt");
  EXPECT_EQ(Try(registry.host(), "app"), "ok");
  Trust(registry.host(), "server.key");
  EXPECT_THAT(Try(registry.host(), "app"), HasSubstr("ca.crt is not a readable PEM certificate"));
  // Another name than the certificate's.
  const std::string alias = "localhost" + registry.host().substr(registry.host().find(':'));
  Trust(alias, "authority.crt");
  EXPECT_THAT(Try(alias, "app"), HasSubstr("certificate is not trusted"));
  // Plain http only: not turned into https.
  Trust(registry.host(), "authority.crt");
  options_.plain_http = PlainHttp::kOnly;
  EXPECT_THAT(Try(registry.host(), "app"), HasSubstr("status 400"));
}

TEST_F(TlsTest, AServerThatSaysNothingToHttpIsFoundToSpeakTls) {
  const auto serve = [this](const std::string& mode) {
    return std::make_unique<Background>(
        std::vector<std::string>{"python3", kOddRegistry, mode, folder_ / "server.crt",
                                 folder_ / "server.key"},
        "listening on ");
  };
  const auto tls = serve("plain");
  Trust(tls->found(), "authority.crt");
  EXPECT_EQ(Try(tls->found(), "r"), "ok");
  // A registry that is spoken to by https cannot send us, and our credentials, to plain http.
  const auto plain_realm = serve("plain-realm");
  Trust(plain_realm->found(), "authority.crt");
  const std::string refused = Try(plain_realm->found(), "r");
  EXPECT_THAT(refused, StartsWith("failed_precondition: "));
  EXPECT_THAT(refused, HasSubstr("refused to fetch http://127.0.0.1:"));
}

TEST_F(TlsTest, PlainHttpIsForThisMachineOnly) {
  EXPECT_TRUE(fetch::IsLoopbackHost("127.0.0.1:5000"));
  EXPECT_TRUE(fetch::IsLoopbackHost("[::1]:5000"));
  EXPECT_TRUE(fetch::IsLoopbackHost("localhost"));
  EXPECT_FALSE(fetch::IsLoopbackHost("127.0.0.1.example:5000"));
  EXPECT_FALSE(fetch::IsLoopbackHost("localhost.example"));
  EXPECT_FALSE(fetch::IsLoopbackHost("[::1].example"));
  fetch::HttpClient http({});
  for (const char* url : {"http://registry.invalid/v2/", "ftp://127.0.0.1/", "file:///etc/passwd",
                          "http://user:pass@127.0.0.1/", "http://10.0.0.1/"}) {
    const auto refused =
        http.Fetch({.url = url, .transport = fetch::Transport::kPlainOnLoopback}, 1000, {}, {});
    ASSERT_FALSE(refused) << url;
    EXPECT_EQ(refused.error().code(), ErrorCode::kFailedPrecondition) << url;
    EXPECT_FALSE(refused.error().message().contains("pass@")) << url;
  }
  const auto not_asked_for = http.Fetch({.url = "http://127.0.0.1:1/"}, 1000, {}, {});
  EXPECT_EQ(not_asked_for.error().code(), ErrorCode::kFailedPrecondition);

  options_.plain_http = PlainHttp::kOnly;
  EXPECT_THAT(Try("registry.invalid", "app"), StartsWith("failed_precondition: "));
  DockerRegistry registry;
  registry.PushSmall("app:v");
  EXPECT_EQ(Try(registry.host(), "app"), "ok");
}

}  // namespace
}  // namespace cleanroom::registry
