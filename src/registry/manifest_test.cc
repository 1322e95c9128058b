#include "registry/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/result_matchers.h"
#include "registry/challenge.h"

namespace cleanroom::registry {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

std::string ManifestJson(const std::string& layer_type, const std::string& digest = kDigest,
                         const std::string& size = "20") {
  return R"({"config":{"mediaType":"x","digest":")" + kDigest +
         R"(","size":10},"layers":[{"mediaType":")" + layer_type + R"(","digest":")" + digest +
         R"(","size":)" + size + "}]}";
}

constexpr const char* kLayer = "application/vnd.oci.image.layer.v1.tar+gzip";

TEST(ManifestTest, TellsManifestFromIndex) {
  const auto manifest = ParseDocument(ManifestJson(kLayer), {});
  ASSERT_TRUE(manifest && manifest->manifest);
  EXPECT_EQ(manifest->manifest->layers.at(0).size, 20u);
  const auto index = ParseDocument(
      R"({"manifests":[{"digest":")" + kDigest +
          R"(","size":1,"platform":{"os":"linux","architecture":"arm64"}},{"digest":")" + kDigest +
          R"(","size":2,"platform":{"os":"linux","architecture":"amd64"}},{"digest":")" + kDigest +
          R"(","size":3,"platform":{"os":"unknown","architecture":"unknown"}}]})",
      {});
  ASSERT_TRUE(index && !index->manifest);
  ASSERT_EQ(index->candidates.size(), 1u);
  EXPECT_EQ(index->candidates[0].size, 2u);
}

TEST(ManifestTest, BadDocumentsAreRefused) {
  const struct {
    std::string json;
    ErrorCode code;
  } cases[] = {
      {"", ErrorCode::kDataCorrupt},
      {"[]", ErrorCode::kDataCorrupt},
      {"{", ErrorCode::kDataCorrupt},
      {std::string(100000, '['), ErrorCode::kDataCorrupt},
      {R"({"schemaVersion":1,"fsLayers":[]})", ErrorCode::kFailedPrecondition},
      {R"({"manifests":{}})", ErrorCode::kDataCorrupt},
      {ManifestJson(kLayer, "sha256:../../etc/passwd"), ErrorCode::kDataCorrupt},
      {ManifestJson(kLayer, "sha512:" + std::string(64, 'a')), ErrorCode::kDataCorrupt},
      {ManifestJson(kLayer, "sha256:" + std::string(64, 'A')), ErrorCode::kDataCorrupt},
      {ManifestJson(kLayer, kDigest, "-1"), ErrorCode::kDataCorrupt},
      {ManifestJson(kLayer, kDigest, "1e300"), ErrorCode::kDataCorrupt},
      {ManifestJson(kLayer, kDigest, "18446744073709551615"), ErrorCode::kResourceExhausted},
      {ManifestJson("application/vnd.oci.image.layer.v1.tar+encrypted"),
       ErrorCode::kFailedPrecondition},
  };
  for (const auto& c : cases) {
    const auto document = ParseDocument(c.json, {});
    ASSERT_FALSE(document) << c.json.substr(0, 200);
    EXPECT_EQ(document.error().code(), c.code)
        << c.json.substr(0, 200) << ": " << document.error().ToString();
  }
  Limits limits;
  limits.max_layers = 0;
  EXPECT_EQ(ParseDocument(ManifestJson(kLayer), limits).error().code(),
            ErrorCode::kResourceExhausted);
}

TEST(ManifestTest, Config) {
  const auto config = ParseConfig(
      R"({"architecture":"amd64","os":"linux","config":{"User":"u","Env":["A=B","C="],"Cmd":null,)"
      R"("Entrypoint":["/e"],"WorkingDir":"/w"},"rootfs":{"diff_ids":[")" +
          kDigest + R"("]}})",
      {});
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->user, "u");
  EXPECT_EQ(config->env, (std::vector<std::string>{"A=B", "C="}));
  EXPECT_TRUE(config->cmd.empty());
  for (const char* bad : {R"({"config":{"Env":["NOVALUE"]}})", R"({"config":{"Env":"A=B"}})",
                          R"({"config":{"User":7}})", R"({"config":{"Cmd":["a\u0000b"]}})",
                          R"({"rootfs":{"diff_ids":["x"]}})", "[]"}) {
    EXPECT_EQ(ParseConfig(bad, {}).error().code(), ErrorCode::kDataCorrupt) << bad;
  }
  Manifest manifest;
  EXPECT_EQ(CheckConfig(*config, manifest).error().code(), ErrorCode::kDataCorrupt);
  manifest.layers.resize(1);
  EXPECT_TRUE(CheckConfig(*config, manifest));
  ImageConfig arm = *config;
  arm.architecture = "arm64";
  EXPECT_EQ(CheckConfig(arm, manifest).error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(CheckConfig(arm, manifest).error().remedy(),
            "Use an image that is made for linux/amd64");
}

TEST(ChallengeTest, Parses) {
  const auto challenge =
      ParseChallenge(R"(Bearer realm="https://a.example/t?x=1",Service="s\"q", scope="a,b")");
  ASSERT_TRUE(challenge);
  EXPECT_EQ(challenge->scheme, "bearer");
  EXPECT_EQ(challenge->params.at("realm"), "https://a.example/t?x=1");
  EXPECT_EQ(challenge->params.at("service"), "s\"q");
  EXPECT_EQ(challenge->params.at("scope"), "a,b");
  EXPECT_EQ(ParseChallenge("Basic realm=x")->scheme, "basic");
  EXPECT_FALSE(ParseChallenge(""));
  EXPECT_FALSE(ParseChallenge("Bearer realm=\"open"));
}

}  // namespace
}  // namespace cleanroom::registry
