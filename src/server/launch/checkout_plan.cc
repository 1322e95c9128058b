#include "server/launch/checkout_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "document/diagnostic.h"
#include "git/remote_url.h"
#include "policy/load.h"
#include "policy/match.h"
#include "server/launch/policy_gate.h"

namespace cleanroom::server {
namespace {

namespace v1 = ::cleanroom::v1;

constexpr std::array<std::string_view, 2> kPolicyFiles = {"cleanroom.yaml",
                                                          ".buildkite/cleanroom.yaml"};
constexpr size_t kMaxWord = 4096;  // of a URL, a path, a name
// The floor for a sandbox with a repository; the disk is sparse.
constexpr int64_t kDiskMib = 8192;

Result<CheckoutWish> WishOf(const v1::RepositoryCheckout& message) {
  for (const std::string* word :
       {&message.remote_url(), &message.commit_sha(), &message.destination_dir(), &message.branch(),
        &message.revision()}) {
    if (word->size() > kMaxWord || word->find('\0') != std::string::npos) {
      return Err(ErrorCode::kInvalidArgument,
                 fmt::format("a word of repository_checkout is longer than {} bytes", kMaxWord));
    }
  }
  if (!message.commit_sha().empty() && !message.revision().empty()) {
    return Err(ErrorCode::kInvalidArgument,
               "repository_checkout names a commit_sha and a revision: one of them is enough");
  }
  const std::string& path = message.destination_dir();
  if (!path.empty() &&
      (path[0] != '/' || path == "/" || path.find("/../") != path.npos || path.ends_with("/.."))) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("the checkout's folder must be an absolute path below /, not {}", path));
  }
  return CheckoutWish{.remote_url = message.remote_url(),
                      .commit = message.commit_sha(),
                      .revision = message.revision(),
                      .branch = message.branch()};
}

struct CommitPolicy {
  policy::CompiledPolicy compiled;
  std::string file;
};

Awaitable<Result<CommitPolicy>> PolicyOf(const store::Checkout& checkout, Checkouts& checkouts) {
  for (const std::string_view name : kPolicyFiles) {
    auto text = co_await checkouts.ReadFile(checkout, std::string(name));
    if (!text && text.error().code() == ErrorCode::kNotFound) continue;
    if (!text) co_return Err(std::move(text).error());
    auto parsed = policy::Parse(*text, name);
    if (!parsed) co_return Err(ErrorCode::kPolicyInvalid, document::Format(parsed.error()));
    CR_CO_TRY_ASSIGN(auto compiled, policy::CompiledPolicy::Compile(*std::move(parsed)));
    co_return CommitPolicy{.compiled = std::move(compiled), .file = std::string(name)};
  }
  co_return Err(
      Error(ErrorCode::kPolicyInvalid,
            fmt::format("commit {} of {} has neither {} nor {}", checkout.commit,
                        checkout.remote_url, kPolicyFiles[0], kPolicyFiles[1]))
          .Remedy("Add one of them, or name a policy or an image yourself: -c FILE, --image REF"));
}

// The commit, which may be of a bundle that the request has; that is taken out of it.
Awaitable<Result<store::Checkout>> Find(v1::CreateSandboxRequest& request, CheckoutWish wish,
                                        Checkouts& checkouts, ProgressFn progress) {
  if (!request.has_repository_commit_bundle()) {
    auto resolved = co_await checkouts.Resolve(std::move(wish), std::move(progress));
    co_return resolved;
  }
  auto bundle = std::make_shared<v1::RepositoryCommitBundle>();
  bundle->Swap(request.mutable_repository_commit_bundle());
  request.clear_repository_commit_bundle();
  auto resolved =
      co_await checkouts.ResolveBundle(std::move(wish), std::move(bundle), std::move(progress));
  co_return resolved;
}

// That the policy has a repository at all, and may fetch it from there.
Result<void> CheckAllowed(const policy::CompiledPolicy& policy, const git::RemoteUrl& remote) {
  if (policy.spec().repository && !policy.spec().repository->enabled) {
    return Err(Error(ErrorCode::kPolicyConflict,
                     "the policy says repository.enabled: false, and the request has a checkout")
                   .Remedy("Remove that key, or use `cleanroom sandbox create`"));
  }
  if (remote.scheme() == git::Scheme::kFile) return {};  // in tests alone
  const auto decision = policy::Match(policy, {.host = remote.host(),
                                               .port = remote.port(),
                                               .protocol = policy::Protocol::kTcp,
                                               .stage = policy::Stage::kRepository});
  if (decision.allowed) return {};
  return Err(Error(ErrorCode::kHostNotAllowed,
                   fmt::format("the policy does not allow {}:{}, from which the repository is to "
                               "be fetched",
                               remote.host(), remote.port()))
                 .About(SubjectKind::kRepository, remote.origin())
                 .Remedy(fmt::format("Add to cleanroom.yaml: repository: {{ network: {{ allow: "
                                     "[\"{}:{}\"] }} }}",
                                     remote.host(), remote.port())));
}

}  // namespace

Awaitable<Result<PlannedCheckout>> PlanCheckout(v1::CreateSandboxRequest& request,
                                                Checkouts& checkouts, ProgressFn progress) {
  PlannedCheckout planned;
  if (!request.has_repository_checkout()) {
    if (request.has_repository_changeset() || request.has_repository_commit_bundle()) {
      co_return Err(ErrorCode::kInvalidArgument,
                    "local changes and commits need the checkout that they belong to");
    }
    co_return planned;
  }
  const v1::RepositoryCheckout asked = request.repository_checkout();
  CR_CO_TRY_ASSIGN(CheckoutWish wish, WishOf(asked));
  CR_CO_TRY_ASSIGN(const git::RemoteUrl remote, checkouts.Remote(wish.remote_url));
  std::optional<policy::CompiledPolicy> policy;
  if (request.has_policy()) {
    CR_CO_TRY_ASSIGN(policy, PolicyFromMessage(request.policy()));
    CR_CO_TRY(CheckAllowed(*policy, remote));
  }
  auto resolved = co_await Find(request, std::move(wish), checkouts, std::move(progress));
  if (!resolved) co_return Err(std::move(resolved).error());
  if (!policy) {
    auto found = co_await PolicyOf(*resolved, checkouts);
    if (!found) co_return Err(std::move(found).error());
    policy = std::move(found->compiled);
    CR_CO_TRY(CheckAllowed(*policy, remote));
    request.mutable_policy()->set_canonical_json(policy->CanonicalJson());
    request.mutable_policy()->set_hash(policy->hash());
    planned.policy_source = fmt::format("repository:{}", found->file);
  }
  const policy::Repository wanted = policy->spec().repository.value_or(policy::Repository());
  planned.checkout = *std::move(resolved);
  planned.checkout->path = asked.destination_dir().empty() ? wanted.path : asked.destination_dir();
  planned.checkout->submodules = asked.submodules() || wanted.submodules;
  if (request.has_repository_changeset()) {
    auto local = std::make_shared<v1::RepositoryChangeset>();
    local->Swap(request.mutable_repository_changeset());
    planned.local_changes = std::move(local);
  }
  co_return planned;
}

void AddCheckout(PlannedCheckout planned, LaunchPlan& plan) {
  if (!planned.checkout) return;
  plan.record.disk_mib = std::max(plan.record.disk_mib, kDiskMib);
  plan.record.checkout = std::move(planned.checkout);
  plan.local_changes = std::move(planned.local_changes);
}

}  // namespace cleanroom::server
