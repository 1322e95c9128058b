// From a request with a checkout to one whose commit, policy and path are known: what comes before
// PlanLaunch.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/async.h"
#include "base/result.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "server/launch/checkouts.h"
#include "server/launch/launch_plan.h"
#include "server/progress.h"
#include "store/records.h"

namespace cleanroom::server {

// Where the policy of a request came from, as CreateSandboxResponse tells it: "request", or
// "repository:cleanroom.yaml".
inline constexpr std::string_view kPolicyOfRequest = "request";

struct PlannedCheckout {
  std::optional<store::Checkout> checkout;
  std::shared_ptr<const ::cleanroom::v1::RepositoryChangeset> local_changes = nullptr;
  std::string policy_source = std::string(kPolicyOfRequest);
};

// Resolves the commit of the request's checkout; a request that carries no policy gets the one of
// that commit. Nothing happens to a request without a checkout.
//
// invalid_argument for a checkout that contradicts itself, policy_conflict for one that the policy
// does not have, host_not_allowed when the policy does not let the remote's host be reached while
// the repository is fetched, policy_invalid for a policy of the commit that is none, with its
// lines. Errors of the remote: Checkouts::Resolve.
Awaitable<Result<PlannedCheckout>> PlanCheckout(::cleanroom::v1::CreateSandboxRequest& request,
                                                Checkouts& checkouts, ProgressFn progress);

// Puts it on the plan that was made of the same request; a repository, and what is built of it, has
// a floor of its own for the disk.
void AddCheckout(PlannedCheckout planned, LaunchPlan& plan);

}  // namespace cleanroom::server
