#include "registry/docker_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/result_matchers.h"

namespace cleanroom::registry {
namespace {

std::string Refusal(std::string_view text) {
  const auto config = ParseDockerConfig(text);
  return config ? "accepted" : config.error().ToString();
}

TEST(DockerConfigTest, ReadsWhatDockerAndPodmanWrite) {
  const auto config = ParseDockerConfig(R"({
    "auths": {
      "https://index.docker.io/v1/": {"auth": "dXNlcjpwYTpzcw=="},
      "plain.example": {"username": "u", "password": "p", "email": "x"},
      "token.example": {"auth": "PHRva2VuPjpyMw==", "identitytoken": ""},
      "identity.example": {"auth": "dTo=", "identitytoken": "refresh"},
      "registry.example": {"registrytoken": "bearer"},
      "store.example": {}
    },
    "credsStore": "secretservice",
    "credHelpers": {"aws.example": "ecr-login"},
    "HttpHeaders": {"User-Agent": "x"}, "psFormat": 7
  })");
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->auths.at("https://index.docker.io/v1/").username, "user");
  EXPECT_EQ(config->auths.at("https://index.docker.io/v1/").password.Reveal(), "pa:ss");
  EXPECT_EQ(config->auths.at("plain.example").password.Reveal(), "p");
  EXPECT_EQ(config->auths.at("token.example").identity_token.Reveal(), "r3");
  EXPECT_TRUE(config->auths.at("token.example").username.empty());
  EXPECT_EQ(config->auths.at("identity.example").identity_token.Reveal(), "refresh");
  EXPECT_EQ(config->auths.at("registry.example").registry_token.Reveal(), "bearer");
  EXPECT_TRUE(config->auths.at("store.example").empty());
  EXPECT_EQ(config->creds_store, "secretservice");
  EXPECT_EQ(config->cred_helpers.at("aws.example"), "ecr-login");
  EXPECT_TRUE(ParseDockerConfig("{}"));
  EXPECT_TRUE(ParseDockerConfig(R"({"auths":null,"credHelpers":null,"credsStore":null})"));
}

TEST(DockerConfigTest, NamesTheEntryAtFaultAndNotItsValue) {
  EXPECT_EQ(Refusal("{"), "failed_precondition: it is not a JSON object");
  EXPECT_EQ(Refusal("[]"), "failed_precondition: it is not a JSON object");
  EXPECT_EQ(Refusal(R"({"auths":{"h":{"auth":"c2VjcmV0"}}})"),
            "failed_precondition: auths 'h': its auth is not base64 of NAME:PASSWORD");
  for (const char* auth : {"dXNlcjpwYXNz*", "dXNlcjp", "OnBhc3M=", " "}) {
    EXPECT_TRUE(Refusal(std::string(R"({"auths":{"h":{"auth":")") + auth + "\"}}}")
                    .ends_with("its auth is not base64 of NAME:PASSWORD"))
        << auth;
  }
  EXPECT_TRUE(Refusal(R"({"auths":{"h":{"identitytoken":"a\r\nb"}}})").contains("auths 'h'"));
  EXPECT_TRUE(Refusal(R"({"auths":{"h":[]}})").contains("auths 'h'"));
  for (const char* name : {"../x", "a b", "", "a/b", "$(x)"}) {
    EXPECT_TRUE(Refusal(std::string(R"({"credHelpers":{"h":")") + name + "\"}}")
                    .contains("credHelpers 'h'"))
        << name;
  }
  EXPECT_TRUE(Refusal(R"({"credsStore":"../../bin/sh"})").contains("credsStore"));
  EXPECT_TRUE(Refusal(std::string(2 << 20, ' ')).contains("larger than"));
  EXPECT_NE(Refusal(std::string(100, '[')), "accepted");
}

TEST(DockerConfigTest, TheLongestKeyThatCoversTheRepositoryCounts) {
  const auto covers = [](std::string_view key) { return KeyCovers(key, "h.example:5000", "a/b"); };
  EXPECT_EQ(covers("h.example:5000"), 14u);
  EXPECT_EQ(covers("https://H.Example:5000"), 14u);
  EXPECT_EQ(covers("https://h.example:5000/v2/"), 14u);
  EXPECT_EQ(covers("h.example:5000/a"), 16u);
  EXPECT_EQ(covers("h.example:5000/a/b"), 18u);
  for (const char* other :
       {"", "h.example", "h.example:50", "h.example:5000/ab", "h.example:5000/a/b/c",
        "x.h.example:5000", "https://", "/", "h.example:5000/a/bc"}) {
    EXPECT_EQ(covers(other), 0u) << other;
  }
  for (const char* hub : {"https://index.docker.io/v1/", "docker.io", "index.docker.io"}) {
    EXPECT_GT(KeyCovers(hub, "docker.io", "library/alpine"), 0u) << hub;
    EXPECT_EQ(KeyCovers(hub, "docker.io.example", "library/alpine"), 0u) << hub;
  }
}

TEST(DockerConfigTest, HelperAnswers) {
  const auto pair = ParseHelperAnswer(R"({"ServerURL":"https://h","Username":"u","Secret":"s"})"
                                      "\n");
  ASSERT_TRUE(pair);
  EXPECT_EQ(pair->username, "u");
  EXPECT_EQ(pair->password.Reveal(), "s");
  EXPECT_EQ(ParseHelperAnswer(R"({"Username":"<token>","Secret":"r"})")->identity_token.Reveal(),
            "r");
  for (const char* bad : {"", "secret", "[]", R"({"Username":1,"Secret":"s"})", R"({"Secret":{}})",
                          "{\"Username\":\"u\",\"Secret\":\"a\\nb\"}"}) {
    const auto answer = ParseHelperAnswer(bad);
    ASSERT_FALSE(answer) << bad;
    EXPECT_FALSE(answer.error().message().contains("secret"));
  }
}

}  // namespace
}  // namespace cleanroom::registry
