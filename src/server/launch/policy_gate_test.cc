#include "server/launch/policy_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/result_matchers.h"
#include "capability/capability.h"

namespace cleanroom::server {
namespace {

using testing::HasSubstr;

const std::string kDigest = "sha256:" + std::string(64, 'a');
const std::string kRef = "registry.example/debian@" + kDigest;

TEST(PolicyGateTest, TakesTheCanonicalJson) {
  const auto compiled = policy::PolicyForImage(kRef);
  ASSERT_TRUE(compiled);
  ::cleanroom::v1::Policy message;
  message.set_canonical_json(compiled->CanonicalJson());
  message.set_hash(compiled->hash());
  const auto policy = PolicyFromMessage(message);
  ASSERT_THAT(policy, IsOk());
  EXPECT_EQ(policy->hash(), compiled->hash());
}

TEST(PolicyGateTest, RefusesAnotherHash) {
  const auto compiled = policy::PolicyForImage(kRef);
  ::cleanroom::v1::Policy message;
  message.set_canonical_json(compiled->CanonicalJson());
  message.set_hash(std::string(64, '0'));
  const auto policy = PolicyFromMessage(message);
  ASSERT_FALSE(policy);
  EXPECT_EQ(policy.error().code(), ErrorCode::kPolicyInvalid);
}

TEST(PolicyGateTest, RefusesWhatWasChanged) {
  const auto compiled = policy::PolicyForImage(kRef);
  ::cleanroom::v1::Policy message;
  std::string json = compiled->CanonicalJson();
  json.replace(json.find("deny"), 4, "allo");
  message.set_canonical_json(json);
  EXPECT_EQ(PolicyFromMessage(message).error().code(), ErrorCode::kPolicyInvalid);
}

TEST(PolicyGateTest, BuildsFromTheOriginalFields) {
  ::cleanroom::v1::Policy message;
  message.set_version(1);
  message.set_image_ref(kRef);
  message.set_image_digest(kDigest);
  message.set_network_default("deny");
  auto* rule = message.add_allow();
  rule->set_host("api.github.com");
  rule->add_ports(443);
  const auto policy = PolicyFromMessage(message);
  ASSERT_THAT(policy, IsOk());
  EXPECT_EQ(policy->spec().network.allow.size(), 1U);
  EXPECT_EQ(policy->spec().image.digest, kDigest);
}

TEST(PolicyGateTest, RefusesFieldsThatAreNoPolicy) {
  ::cleanroom::v1::Policy message;
  EXPECT_EQ(PolicyFromMessage(message).error().code(), ErrorCode::kPolicyInvalid);
  message.set_image_ref("debian:12");  // a tag where a digest is due
  EXPECT_EQ(PolicyFromMessage(message).error().code(), ErrorCode::kPolicyInvalid);
  message.set_image_ref(kRef);
  message.set_version(2);
  EXPECT_EQ(PolicyFromMessage(message).error().code(), ErrorCode::kPolicyInvalid);
  message.set_version(1);
  message.set_network_default("maybe");
  EXPECT_EQ(PolicyFromMessage(message).error().code(), ErrorCode::kPolicyInvalid);
}

TEST(PolicyGateTest, NamesEveryKeyThatCannotBeEnforced) {
  ::cleanroom::v1::Policy message;
  message.set_image_ref(kRef);
  auto* rule = message.add_allow();
  rule->set_host("api.github.com");
  message.mutable_services()->mutable_docker()->set_required(true);
  const auto policy = PolicyFromMessage(message);
  ASSERT_THAT(policy, IsOk());
  const std::set<std::string> capabilities = {std::string(capability::kNetworkDenyAll)};
  const auto refused = CheckEnforceable(*policy, capabilities);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kBackendCapabilityMismatch);
  EXPECT_THAT(refused.error().message(), HasSubstr("sandbox.network.allow"));
  EXPECT_THAT(refused.error().message(), HasSubstr("sandbox.docker"));
}

// Rules for one stage are rules; blocks are what needs a backend that runs them.
TEST(PolicyGateTest, ListsOfStagesNeedNoBlocks) {
  const auto base = policy::PolicyForImage(kRef);
  ASSERT_THAT(base, IsOk());
  policy::Policy spec = base->spec();
  spec.network.stages[policy::Stage::kDependencies] = {
      {.target = *policy::ParseHostTarget("dep.example"), .ports = {443}, .reason = {}}};
  spec.network.stages[policy::Stage::kExecution] = {};
  const auto lists = policy::CompiledPolicy::Compile(spec);
  ASSERT_THAT(lists, IsOk());
  const std::set<std::string> capabilities = {std::string(capability::kNetworkDenyAll),
                                              std::string(capability::kNetworkAllowRules)};
  EXPECT_TRUE(CheckEnforceable(*lists, capabilities));

  spec.dependencies.push_back(policy::Block{.name = "setup",
                                            .command = "true",
                                            .env = {},
                                            .input_files = {},
                                            .output_dirs = {},
                                            .output_files = {}});
  const auto blocks = policy::CompiledPolicy::Compile(spec);
  ASSERT_THAT(blocks, IsOk());
  const auto refused = CheckEnforceable(*blocks, capabilities);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("sandbox.dependencies"));
  EXPECT_THAT(refused.error().message(), testing::Not(HasSubstr("network")));
}

}  // namespace
}  // namespace cleanroom::server
