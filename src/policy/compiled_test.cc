#include "policy/compiled.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "document/document.h"
#include "policy/load.h"

namespace cleanroom::policy {
namespace {

using ::testing::HasSubstr;

const std::string kDigest =
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const std::string kRef = "example.com/base@" + kDigest;
const std::string kMinimal = "version: 1\nsandbox:\n  image: { ref: " + kRef + " }\n";

CompiledPolicy MustCompile(const std::string& yaml) {
  ParseResult parsed = Parse(yaml, "f");
  if (!parsed) {
    ADD_FAILURE() << document::Format(parsed.error());
    std::abort();
  }
  Result<CompiledPolicy> compiled = CompiledPolicy::Compile(*std::move(parsed));
  if (!compiled) {
    ADD_FAILURE() << compiled.error().message();
    std::abort();
  }
  return *std::move(compiled);
}

TEST(CompiledPolicy, HasGoldenJsonAndHash) {
  const CompiledPolicy policy = MustCompile(kMinimal);
  // The hash is `sha256sum` of the same text with "hash":"".
  EXPECT_EQ(policy.hash(), "573e5664b2350cd0ad0286028b2c884f1e08c894d7f1ea01a4f127c0ce9d4a6b");
  EXPECT_EQ(policy.CanonicalJson(),
            R"({"hash":")" + policy.hash() + R"(","sandbox":{"image":{"ref":")" + kRef +
                R"("},"network":{"default":"deny"},"ttl_minutes":60},"version":1})");
}

const std::string kFull = kMinimal + R"(  resources: { vcpus: 2, memory: 1GiB, disk: 1GB }
  docker: { required: true }
  network:
    allow: [ b.example, a.example:443, { cidr: "fd00::/8", ports: [9], reason: "ünïcode \u2028 \"q\"" } ]
    deny: [ { host: "*.x.example" } ]
  dependencies:
    - { name: n, command: "a\n\tb", env: { A: "1" }, inputs: { files: [b, a, b] }, outputs: { dirs: [d] } }
  services: [ { name: s, command: x } ]
  run: { before: y }
repository: { enabled: false }
registries: { oci: { allowed_hosts: [b.example, a.example], lockfile: { files: [x] } } }
secrets: [ { id: z, allowed_hosts: [a.example] }, { id: a, allowed_hosts: [a.example], ttl_seconds: 5 } ]
expose: { https: { routes: [ { port: 2, hosts: [b.x, a.x] }, { port: 1 } ] } }
metadata: { b: [1, x, 1.5, null], a: { k: true }, "é": 18446744073709551615 }
)";

TEST(CompiledPolicy, SurvivesTheWire) {
  for (const std::string& yaml : {kMinimal, kFull}) {
    const CompiledPolicy policy = MustCompile(yaml);
    const Result<CompiledPolicy> again = CompiledPolicy::FromCanonicalJson(policy.CanonicalJson());
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ(*again, policy);
    EXPECT_EQ(again->hash(), policy.hash());
  }
}

TEST(CompiledPolicy, HashIgnoresOrderAndSpelling) {
  const auto hash = [](const std::string& rest) { return MustCompile(kMinimal + rest).hash(); };
  EXPECT_EQ(
      hash("  network: { allow: [ b.example, a.example:443 ] }\n"),
      hash(
          "  network:\n    allow:\n      - { host: A.example., ports: [443, 443], protocol: tcp }\n"
          "      - { host: b.example, ports: [443, 80] }\n      - a.example:443\n"));
  EXPECT_EQ(hash("  docker: { required: true }\n"),
            hash("  services: { docker: { required: true } }\n"));
  EXPECT_EQ(hash("  docker: { required: false }\n"), hash(""));
  EXPECT_EQ(hash("  network: { default: deny, execution: { allow: [] } }\n"),
            hash("metadata: {}\n"));
  EXPECT_EQ(hash("  resources: { memory: 1GiB }\n"), hash("  resources: { memory: 1024m }\n"));
  EXPECT_EQ(hash("  dependencies: [ { name: a, command: x, outputs: { dirs: [b, c] } } ]\n"),
            hash("  dependencies: [ { name: a, command: x, outputs: { dirs: [./c/, b] } } ]\n"));

  for (std::string_view other :
       {"  network: { allow: [ a.example:443 ] }\n", "  ttl_minutes: 61\n", "repository: {}\n",
        "metadata: { a: 1 }\n", "  network: { deny: [ { host: a.example } ] }\n",
        "  docker: { required: true }\n"}) {
    EXPECT_NE(hash(std::string(other)), hash("")) << other;
  }
  // The order of blocks is that of running them.
  EXPECT_NE(hash("  services: [ { name: a, command: x }, { name: b, command: x } ]\n"),
            hash("  services: [ { name: b, command: x }, { name: a, command: x } ]\n"));
}

TEST(FromCanonicalJson, TakesNothingButTheCanonicalText) {
  const std::string good = MustCompile(kFull).CanonicalJson();
  const auto replaced = [&good](std::string_view from, std::string_view to) {
    std::string text = good;
    const size_t at = text.find(from);
    if (at == std::string::npos) {
      ADD_FAILURE() << from;
      return text;
    }
    return text.replace(at, from.size(), to);
  };
  const std::string hash = MustCompile(kFull).hash();
  for (const std::string& bad : {
           std::string(),
           std::string("{}"),
           std::string("null"),
           good + " ",
           " " + good,
           good.substr(0, good.size() - 1),
           replaced(hash, ""),
           replaced(hash, std::string(64, '0')),
           replaced("\"vcpus\":2", "\"vcpus\":3"),  // another policy under the old hash
           replaced("\"vcpus\":2", "\"vcpus\":2.0"),
           replaced("\"vcpus\":2", "\"vcpus\":2,\"vcpus\":2"),
           replaced("\"vcpus\":2", "\"vcpus\":2,\"x\":2"),
           replaced("\"vcpus\":2", "\"vcpus\":100000"),
           replaced("\"port\":1", "\"port\":65537"),
           replaced("b.example", "b.example."),
           replaced("b.example", "10.0.0.1"),
           replaced("\"ports\":[80,443]", "\"ports\":[443,80]"),
           replaced("\"ports\":[80,443]", "\"ports\":[]"),
           replaced("a\\n\\tb", "a\\u0000b"),
           replaced("\"metadata\":", "\"metadata\":[],\"secrets\":"),
           std::string(document::kMaxDocumentBytes, '['),
           std::string(2 * document::kMaxDocumentBytes, ' '),
       }) {
    const Result<CompiledPolicy> policy = CompiledPolicy::FromCanonicalJson(bad);
    ASSERT_FALSE(policy) << bad.substr(0, 400);
    EXPECT_EQ(policy.error().code(), ErrorCode::kPolicyInvalid);
  }
}

TEST(CompiledPolicy, BoundsItsSize) {
  // Just under the limit as YAML, over it once quoted as JSON.
  std::string text(60'000, '"');
  std::string yaml = kMinimal + "metadata:\n";
  for (int i = 0; i < 17; ++i) yaml += "  k" + std::to_string(i) + ": '" + text + "'\n";
  ParseResult parsed = Parse(yaml, "f");
  ASSERT_TRUE(parsed) << document::Format(parsed.error());
  const auto compiled = CompiledPolicy::Compile(*std::move(parsed));
  ASSERT_FALSE(compiled);
  EXPECT_THAT(compiled.error().message(), HasSubstr("at most 1048512 fit"));
}

TEST(CompiledPolicy, ChecksPoliciesBuiltByHand) {
  Policy policy;
  EXPECT_FALSE(CompiledPolicy::Compile(policy)) << "no image";
  policy.image = *ImageRef::Parse(kRef);
  EXPECT_TRUE(CompiledPolicy::Compile(policy));
  policy.secrets.push_back({.id = "a/b", .allowed_hosts = {}, .ttl_seconds = {}});
  EXPECT_FALSE(CompiledPolicy::Compile(policy));
}

TEST(CompiledPolicy, TakesAnotherImage) {
  const CompiledPolicy policy = MustCompile(kFull);
  const auto other = policy.WithImage(*ImageRef::Parse("alpine@" + kDigest));
  ASSERT_TRUE(other);
  EXPECT_EQ(other->spec().image.Name(), "docker.io/library/alpine");
  EXPECT_NE(other->hash(), policy.hash());
  EXPECT_FALSE(policy.WithImage(*ImageRef::Parse("alpine:3")));
}

TEST(PolicyFromAllowlist, EqualsTheFileThatSaysTheSame) {
  const std::vector<AllowedHost> rules = {
      {"API.github.com", {443}}, {"registry.example.org", {}}, {"10.0.0.1", {5432}}};
  const auto built = PolicyFromAllowlist(kRef, kDigest, rules);
  ASSERT_TRUE(built) << built.error().message();
  EXPECT_EQ(
      *built,
      MustCompile(kMinimal + "  network: { allow: [ \"api.github.com:443\", registry.example.org, "
                             "{ cidr: 10.0.0.1/32, ports: [5432] } ] }\n"));
  EXPECT_TRUE(PolicyFromAllowlist("example.com/base:tag", kDigest, rules));
  EXPECT_TRUE(PolicyFromAllowlist(kRef, "", {}));

  for (const auto& bad :
       {PolicyFromAllowlist("example.com/base", "", rules),
        PolicyFromAllowlist(kRef, "sha256:" + std::string(64, 'f'), rules),
        PolicyFromAllowlist("example.com/base", "sha256:1", rules),
        PolicyFromAllowlist(kRef, kDigest, std::vector<AllowedHost>{{"a.example", {0}}}),
        PolicyFromAllowlist(kRef, kDigest, std::vector<AllowedHost>{{"a.example", {65536}}}),
        PolicyFromAllowlist(kRef, kDigest, std::vector<AllowedHost>{{"a b", {1}}})}) {
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().code(), ErrorCode::kPolicyInvalid);
  }
}

TEST(PolicyForImage, MayOpenTheNetworkButAFileMayNot) {
  const auto closed = PolicyForImage(kRef);
  ASSERT_TRUE(closed);
  EXPECT_EQ(*closed, MustCompile(kMinimal));
  const auto open = PolicyForImage(kRef, NetworkDefault::kAllow, Docker::kRequired);
  ASSERT_TRUE(open);
  EXPECT_TRUE(CompiledPolicy::FromCanonicalJson(open->CanonicalJson()));
  EXPECT_FALSE(Parse(open->CanonicalJson(), "f"));
  EXPECT_FALSE(PolicyForImage("alpine:3"));
}

// A seed that is refused at its hash would keep the fuzzer before the gate.
TEST(CompiledPolicy, TakesEverySeedOfItsFuzzTarget) {
  int seeds = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(CLEANROOM_SOURCE "/fuzz/corpus/policy_json")) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto policy = CompiledPolicy::FromCanonicalJson(text);
    EXPECT_TRUE(policy) << entry.path() << ": " << (policy ? "" : policy.error().message());
    ++seeds;
  }
  EXPECT_GE(seeds, 4);
}

}  // namespace
}  // namespace cleanroom::policy
