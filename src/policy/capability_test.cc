#include "policy/capability.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "policy/load.h"

namespace cleanroom::policy {
namespace {

using ::testing::HasSubstr;

const std::string kHead =
    "version: 1\nsandbox:\n  image: { ref: "
    "example.com/base@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef }\n";

CompiledPolicy MustCompile(const std::string& rest) {
  ParseResult parsed = Parse(kHead + rest, "f");
  if (!parsed) {
    ADD_FAILURE() << document::Format(parsed.error());
    std::abort();
  }
  return *CompiledPolicy::Compile(*std::move(parsed));
}

// "key:line capability" of each mismatch.
std::vector<std::string> Missing(const CompiledPolicy& policy,
                                 const std::set<std::string>& capabilities) {
  std::vector<std::string> out;
  for (const CapabilityMismatch& m : Unenforceable(policy, capabilities)) {
    out.push_back(m.key + ":" + std::to_string(m.line) + " " + m.capability);
  }
  return out;
}

TEST(Unenforceable, NamesEveryKeyThatABackendWouldIgnore) {
  const std::set<std::string> floor = {"network_deny_all"};
  const struct {
    std::string_view yaml;
    std::string_view missing;  // "" when the floor suffices
  } kCases[] = {
      {"", ""},
      {"metadata: { owner: me }\n", ""},
      {"repository: { enabled: false, path: /src }\n", ""},
      {"repository: {}\n", "repository:4 repository_checkout"},
      {"repository:\n  enabled: true\n", "repository:4 repository_checkout"},
      {"  network: { deny: [ { host: a.example } ] }\n", ""},
      {"  network: { allow: [] }\n", ""},
      {"  network: { execution: { allow: [] } }\n", ""},
      {"  network:\n    allow:\n      - z.example:1\n      - a.example:1\n",
       "sandbox.network.allow:6 network_allow_rules"},
      {"  network:\n    execution:\n      allow: [a.example]\n",
       "sandbox.network.execution.allow:6 network_allow_rules"},
      {"  resources: { vcpus: 4 }\n", "sandbox.resources:4 resources"},
      {"  resources: {}\n", ""},
      {"  ttl_minutes: 60\n", ""},
      {"  ttl_minutes: 61\n", "sandbox.ttl_minutes:4 ttl"},
      {"  docker: { required: false }\n", ""},
      {"  docker: { required: true }\n", "sandbox.docker:4 docker"},
      {"  services: { docker: { required: true } }\n", "sandbox.docker:4 docker"},
      {"  dependencies: [ { name: a, command: b } ]\n", "sandbox.dependencies:4 dependencies"},
      {"  dependencies: []\n", ""},
      {"  services: [ { name: a, command: b } ]\n", "sandbox.services:4 services"},
      {"  run:\n    before: x\n", "sandbox.run.before:5 run_before"},
      {"registries: { npm: {} }\n", "registries:4 registries"},
      {"secrets: [ { id: a, allowed_hosts: [b.c] } ]\n", "secrets:4 secrets"},
      {"expose: { https: {} }\n", "expose.https:4 expose_https"},
  };
  for (const auto& c : kCases) {
    const CompiledPolicy policy = MustCompile(std::string(c.yaml));
    const std::vector<std::string> missing = Missing(policy, floor);
    if (c.missing.empty()) {
      EXPECT_TRUE(missing.empty()) << c.yaml << missing.front();
      continue;
    }
    EXPECT_EQ(missing, std::vector<std::string>{std::string(c.missing)}) << c.yaml;
    // With the capability named, nothing is missing; over the wire the key is still named, without
    // its line.
    std::set<std::string> more = floor;
    more.insert(std::string(c.missing.substr(c.missing.find(' ') + 1)));
    EXPECT_TRUE(Missing(policy, more).empty()) << c.yaml;
    const auto wire = CompiledPolicy::FromCanonicalJson(policy.CanonicalJson());
    ASSERT_TRUE(wire);
    const auto key = std::string(c.missing.substr(0, c.missing.find(':')));
    EXPECT_EQ(Unenforceable(*wire, floor).at(0).key, key);
    EXPECT_EQ(Unenforceable(*wire, floor).at(0).line, 0);
  }
}

TEST(Unenforceable, NeedsTheFloorOrTheOpenNetwork) {
  EXPECT_EQ(Missing(MustCompile(""), {}),
            std::vector<std::string>{"sandbox.network:0 network_deny_all"});
  const auto open = PolicyForImage(MustCompile("").spec().image.ToString(), NetworkDefault::kAllow);
  ASSERT_TRUE(open);
  EXPECT_EQ(Missing(*open, {"network_deny_all"}),
            std::vector<std::string>{"sandbox.network.default:0 network_allow_all"});
  EXPECT_TRUE(Missing(*open, {"network_allow_all"}).empty());
}

TEST(Unenforceable, MakesOneErrorOfAll) {
  const CompiledPolicy policy = MustCompile("  docker: { required: true }\n  run: { before: x }\n");
  const Error error = ToError(Unenforceable(policy, {"network_deny_all"}));
  EXPECT_EQ(error.code(), ErrorCode::kBackendCapabilityMismatch);
  EXPECT_THAT(error.message(), HasSubstr("`sandbox.docker` (line 4) needs the capability docker"));
  EXPECT_THAT(error.message(),
              HasSubstr("`sandbox.run.before` (line 5) needs the capability run_before"));
}

}  // namespace
}  // namespace cleanroom::policy
