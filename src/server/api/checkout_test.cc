// The repository of a sandbox: from the request to the machine, with a warden whose machine is not
// real and a repository that is not either.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/testing/result_matchers.h"
#include "server/launch/checkout_plan.h"
#include "server/testing/control_plane_world.h"

namespace cleanroom::server {
namespace {

using store::SandboxStatus;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kUrl = "https://git.example/a.git";
const std::string kImage = "image: { ref: localhost/a@sha256:" + std::string(64, '0') + " }";

class CheckoutTest : public testing::Test {
 protected:
  Result<PlannedCheckout> PlanIt() {
    std::optional<Result<PlannedCheckout>> out;
    plane_.Run(Fill(out));
    return *std::move(out);
  }
  Awaitable<void> Fill(std::optional<Result<PlannedCheckout>>& out) {
    out = co_await PlanCheckout(request_, plane_.checkouts, nullptr);
  }
  // As the commit has it.
  void Policy(const std::string& more) {
    plane_.checkouts.policy_file = "cleanroom.yaml";
    plane_.checkouts.policy = "version: 1\nsandbox: { " + kImage + " }\n" + more;
  }
  std::shared_ptr<LiveSandbox> Make() {
    LaunchPlan plan = plane_.Plan();
    plan.record.checkout = store::Checkout{.remote_url = kUrl,
                                           .commit = std::string(40, 'c'),
                                           .branch = {},
                                           .path = "/src",
                                           .submodules = false};
    auto sandbox = plane_.sandboxes->Create(std::move(plan));
    EXPECT_THAT(sandbox, IsOk());
    plane_.Run(plane_.AwaitCreated(*sandbox));
    return *sandbox;
  }

  os::TempDir folder_ = std::move(*os::TempDir::Create());
  Plane plane_{folder_.path()};
  v1::CreateSandboxRequest request_;
};

TEST_F(CheckoutTest, ARequestWithoutOneIsLeftAlone) {
  EXPECT_FALSE(PlanIt()->checkout);
  request_.mutable_repository_changeset();
  EXPECT_THAT(PlanIt(), HasError(ErrorCode::kInvalidArgument));
}

TEST_F(CheckoutTest, ThePolicyIsTheCommitsWhereTheRequestHasNone) {
  request_.mutable_repository_checkout()->set_remote_url(kUrl);
  Policy("repository: { path: /src, network: { allow: ['git.example:443'] } }\n");
  const auto planned = PlanIt();
  ASSERT_THAT(planned, IsOk());
  EXPECT_EQ(planned->policy_source, "repository:cleanroom.yaml");
  EXPECT_THAT(request_.policy().canonical_json(), HasSubstr("git.example"));
  EXPECT_EQ(planned->checkout->path, "/src");
  EXPECT_EQ(planned->checkout->commit, std::string(40, 'c'));
  plane_.checkouts.policy_file = ".buildkite/cleanroom.yaml";
  request_.clear_policy();
  EXPECT_EQ(PlanIt()->policy_source, "repository:.buildkite/cleanroom.yaml");
  plane_.checkouts.policy_file = "none";
  request_.clear_policy();
  EXPECT_THAT(PlanIt(), HasError(ErrorCode::kPolicyInvalid));
}

TEST_F(CheckoutTest, TheRemoteMustBeAllowedWhileTheRepositoryIsFetched) {
  request_.mutable_repository_checkout()->set_remote_url(kUrl);
  Policy("");
  const auto refused = PlanIt();
  ASSERT_THAT(refused, HasError(ErrorCode::kHostNotAllowed));
  EXPECT_THAT(refused.error().message(), HasSubstr("git.example:443"));
  EXPECT_THAT(refused.error().remedy(), HasSubstr("repository: { network: { allow:"));
  // What the command may reach, the fetch may, too.
  plane_.checkouts.policy =
      "version: 1\nsandbox: { " + kImage + ", network: { allow: ['git.example:443'] } }\n";
  request_.clear_policy();
  EXPECT_THAT(PlanIt(), IsOk());
  request_.mutable_repository_checkout()->set_remote_url("https://git.example:444/a");
  request_.clear_policy();
  EXPECT_THAT(PlanIt(), HasError(ErrorCode::kHostNotAllowed));
}

TEST_F(CheckoutTest, ContradictionsAreNamed) {
  v1::RepositoryCheckout& checkout = *request_.mutable_repository_checkout();
  checkout.set_remote_url(kUrl);
  Policy("repository: { enabled: false, network: { allow: ['git.example:443'] } }\n");
  EXPECT_THAT(PlanIt(), HasError(ErrorCode::kPolicyConflict));
  Policy("repository: { network: { allow: ['git.example:443'] } }\n");
  request_.clear_policy();
  for (const char* path : {"relative", "/", "/a/../b", "/a/.."}) {
    checkout.set_destination_dir(path);
    EXPECT_THAT(PlanIt(), HasError(ErrorCode::kInvalidArgument)) << path;
  }
  checkout.clear_destination_dir();
  checkout.set_commit_sha(std::string(40, 'a'));
  checkout.set_revision("main");
  EXPECT_THAT(PlanIt(), HasError(ErrorCode::kInvalidArgument));
  checkout.clear_revision();
  checkout.set_remote_url("file:///etc");
  EXPECT_THAT(PlanIt(), HasError(ErrorCode::kInvalidArgument));
}

TEST_F(CheckoutTest, ABundleIsResolvedInsteadAndNamedByItsDigest) {
  request_.mutable_repository_commit_bundle()->set_digest(std::string(64, 'd'));
  EXPECT_THAT(PlanIt(), HasError(ErrorCode::kInvalidArgument)) << "it is of no checkout";
  v1::RepositoryCheckout& checkout = *request_.mutable_repository_checkout();
  checkout.set_remote_url(kUrl);
  checkout.set_commit_sha(std::string(40, 'a'));
  Policy("repository: { network: { allow: ['git.example:443'] } }\n");
  const auto planned = PlanIt();
  ASSERT_THAT(planned, IsOk());
  EXPECT_EQ(planned->checkout->bundle, std::string(64, 'd'));
  EXPECT_EQ(planned->checkout->commit, std::string(40, 'a'));
  EXPECT_FALSE(request_.has_repository_commit_bundle()) << "it would lie in memory for long";
}

TEST_F(CheckoutTest, ErrorsOfThePolicyHaveTheirLines) {
  request_.mutable_repository_checkout()->set_remote_url(kUrl);
  Policy("nonsense: 1\n");
  const auto refused = PlanIt();
  ASSERT_THAT(refused, HasError(ErrorCode::kPolicyInvalid));
  EXPECT_THAT(refused.error().message(), HasSubstr("cleanroom.yaml:3:1"));
}

TEST_F(CheckoutTest, ASandboxIsReadyWithItsRepository) {
  const auto sandbox = Make();
  ASSERT_TRUE(sandbox->ready());
  EXPECT_THAT(sandbox->warnings(), ElementsAre("one warning"));
  EXPECT_EQ(os::ReadFile(plane_.layout.Sandbox(sandbox->id()) + "/attached", 100).value_or(""),
            "/src 1");
  const auto record = plane_.store->GetSandbox(sandbox->id());
  EXPECT_EQ(record->checkout->path, "/src");
  std::vector<SandboxStatus> seen;
  const auto events = plane_.store->ListEvents(sandbox->id(), 0, 100);
  for (const auto& event : *events) seen.push_back(event.status);
  EXPECT_THAT(seen, ElementsAre(SandboxStatus::kProvisioning, SandboxStatus::kSetup,
                                SandboxStatus::kReady));
}

TEST_F(CheckoutTest, ASandboxWithoutItsRepositoryFails) {
  plane_.checkouts.layers_failure = Error(ErrorCode::kUpstreamError, "the remote hung up");
  const auto sandbox = Make();
  EXPECT_FALSE(sandbox->ready());
  const auto record = plane_.store->GetSandbox(sandbox->id());
  EXPECT_EQ(record->status, SandboxStatus::kFailed);
  EXPECT_EQ(record->reason.ToString(), "upstream_error: the remote hung up");
  EXPECT_FALSE(std::filesystem::exists(plane_.layout.Sandbox(sandbox->id())));
}

}  // namespace
}  // namespace cleanroom::server
