#include "server/launch/launch_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/result_matchers.h"
#include "capability/capability.h"
#include "policy/compiled.h"

namespace cleanroom::server {
namespace {

using testing::HasSubstr;

::cleanroom::v1::CreateSandboxRequest Request() {
  const auto policy =
      policy::PolicyForImage("registry.example/debian@sha256:" + std::string(64, 'a'));
  ::cleanroom::v1::CreateSandboxRequest request;
  request.mutable_policy()->set_canonical_json(policy->CanonicalJson());
  request.mutable_policy()->set_hash(policy->hash());
  return request;
}

Result<LaunchPlan> Plan(const ::cleanroom::v1::CreateSandboxRequest& request) {
  const std::set<std::string> capabilities = {std::string(capability::kNetworkDenyAll)};
  return PlanLaunch(request, Settings(), capabilities, std::chrono::system_clock::now());
}

TEST(LaunchRequestTest, TheIdleLimitIsThePolicysOrLower) {
  constexpr std::pair<int, int> kWishAndLimit[] = {{0, 60}, {1, 1}, {60, 60}, {600, 60}};
  for (const auto& [wish, limit] : kWishAndLimit) {
    auto request = Request();
    request.mutable_options()->set_idle_minutes(wish);
    const auto plan = Plan(request);
    ASSERT_THAT(plan, IsOk());
    EXPECT_EQ(plan->record.ttl_minutes, limit) << wish;
  }
  auto request = Request();
  request.mutable_options()->set_idle_minutes(-1);
  const auto plan = Plan(request);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(plan.error().message(), HasSubstr("idle_minutes"));
}

}  // namespace
}  // namespace cleanroom::server
