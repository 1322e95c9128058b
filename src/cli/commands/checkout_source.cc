#include "cli/commands/checkout_source.h"

#include <fmt/format.h>

#include <utility>

#include "document/diagnostic.h"
#include "workspace/commit_policy.h"

namespace cleanroom::cli {
namespace {

constexpr std::string_view kDefaultRemote = "origin";

// The policy's words on repositories; nothing without a block of them.
std::optional<policy::Repository> RepositoryBlock(const PolicySource& source) {
  return source.compiled ? source.compiled->spec().repository : std::nullopt;
}

uint16_t PortOf(const workspace::RemoteUrl& url) {
  if (url.port != 0) return url.port;
  if (url.scheme == "ssh") return 22;
  return url.scheme == "http" ? 80 : 443;
}

// Whoever names a repository on the command line, and no policy file, means it to be fetched.
void LetItBeFetched(const workspace::RemoteUrl& url, PolicySource& source) {
  if (!source.compiled) source.fetched_from = {.host = url.host, .port = PortOf(url)};
}

Result<CheckoutSource> FromUrl(const RunFlags& flags, DefaultImageSource* default_image) {
  CheckoutSource out;
  CR_TRY_ASSIGN(const auto url, workspace::RemoteUrl::Parse(flags.repo_url));
  v1::RepositoryCheckout& checkout = out.checkout.emplace();
  checkout.set_remote_url(url.ToString());
  checkout.set_revision(flags.repo_commit);
  if (url.had_credentials) {
    out.notes.emplace_back(
        "--repo-url has a user or a password in it, which is not passed on: the daemon's own git "
        "configuration says how to log in");
  }
  // A file above this directory is another repository's.
  const auto here = policy::FindPolicyFile(".");
  if (!here && here.error().code() != ErrorCode::kNotFound) return Err(here.error());
  if (!here && flags.policy_file.empty() && flags.image.empty()) {
    out.policy.of_commit = true;
    out.policy.network_default = NetworkDefaultOf(flags);
    return out;
  }
  CR_TRY_ASSIGN(out.policy, here || !flags.policy_file.empty()
                                ? LocatePolicy(flags, default_image)
                                : PolicyOfImage(flags, default_image));
  LetItBeFetched(url, out.policy);
  return out;
}

Result<PolicySource> PolicyOfCommit(const RunFlags& flags, const workspace::Repository& repository,
                                    DefaultImageSource* default_image,
                                    std::vector<std::string>& notes) {
  if (!flags.policy_file.empty()) return LocatePolicy(flags, default_image);
  const auto changes =
      flags.CopiesIn() ? workspace::LocalChanges::kTravel : workspace::LocalChanges::kStay;
  CR_TRY_ASSIGN(auto choice, workspace::ChoosePolicy(repository, changes));
  if (!choice.difference.empty()) notes.push_back(std::move(choice.difference));
  if (!choice.policy) {
    // What is not committed yet is better than nothing, and the same to whoever tries it out.
    return LocatePolicy(flags, default_image);
  }
  PolicySource source;
  auto parsed = policy::Parse(choice.policy->text, choice.policy->path);
  if (!parsed) {
    return Err(Error(ErrorCode::kPolicyInvalid, document::Format(parsed.error()))
                   .Context(choice.policy->source));
  }
  CR_TRY_ASSIGN(source.compiled, policy::CompiledPolicy::Compile(*std::move(parsed)));
  source.path = choice.policy->source;
  source.warning = choice.policy->warning;
  source.network_default = NetworkDefaultOf(flags);
  CR_TRY(TakeImage(flags, source));
  return source;
}

// A remote that a daemon can fetch from, which need not be on this machine.
Result<workspace::Remote> FindFetchable(const workspace::Repository& repository,
                                        const std::string& wanted) {
  CR_TRY_ASSIGN(workspace::Remote remote, workspace::FindRemote(repository, wanted));
  const std::string& scheme = remote.url.scheme;
  if (scheme == "https" || scheme == "ssh" || scheme == "http") return remote;
  return Err(Error(ErrorCode::kFailedPrecondition,
                   fmt::format("its remote '{}' is {}, from which no daemon fetches", wanted,
                               scheme == "file" ? "a folder" : "a URL of " + scheme + "://"))
                 .Remedy("Give it a remote with an https or ssh URL"));
}

std::string NotCheckedOut(const Error& why) {
  return fmt::format("the repository is not checked out in the sandbox: {}", why.message());
}

Result<workspace::Repository> NoWorkTree() {
  return Err(Error(ErrorCode::kFailedPrecondition,
                   "a repository is asked for, and this folder is in no git work tree")
                 .Remedy("Run in the work tree, or name a repository with --repo-url"));
}

v1::RepositoryCheckout CheckoutOf(const workspace::Repository& repository,
                                  const workspace::Remote& remote) {
  v1::RepositoryCheckout checkout;
  checkout.set_remote_url(remote.url.ToString());
  checkout.set_commit_sha(repository.commit);
  checkout.set_branch(repository.branch);
  return checkout;
}

}  // namespace

Result<CheckoutSource> LocateCheckout(const RunFlags& flags, DefaultImageSource* default_image) {
  if (!flags.repo_url.empty()) return FromUrl(flags, default_image);
  CheckoutSource out;
  // Whoever works without git has none to start.
  const bool has_one = FindRepository(".").has_value();
  auto repository = has_one ? workspace::Discover(".") : NoWorkTree();
  if (!repository) {
    CR_TRY_ASSIGN(out.policy, LocatePolicy(flags, default_image));
    const auto block = RepositoryBlock(out.policy);
    const bool needed = !flags.repo_commit.empty() || flags.CopiesIn() || flags.CopiesOut();
    if ((block && block->enabled) || needed) return Err(repository.error());
    if (has_one) out.notes.push_back(NotCheckedOut(repository.error()));
    return out;
  }
  CR_TRY_ASSIGN(out.policy, PolicyOfCommit(flags, *repository, default_image, out.notes));
  const auto block = RepositoryBlock(out.policy);
  if (block && !block->enabled) {
    if (!flags.CopiesIn() && !flags.CopiesOut()) return out;
    return Err(Error(ErrorCode::kPolicyConflict,
                     "the policy says repository.enabled: false, so nothing can be copied"));
  }
  const auto remote =
      FindFetchable(*repository, block ? block->remote : std::string(kDefaultRemote));
  const bool needed = block || !flags.repo_commit.empty() || flags.CopiesIn() || flags.CopiesOut();
  if (!remote && needed) return Err(remote.error());
  if (!remote) {
    out.notes.push_back(NotCheckedOut(remote.error()));
    return out;
  }
  out.checkout = CheckoutOf(*repository, *remote);
  if (!flags.repo_commit.empty()) {
    out.checkout->clear_commit_sha();
    out.checkout->clear_branch();
    out.checkout->set_revision(flags.repo_commit);
  } else if (flags.CopiesIn()) {
    CR_TRY_ASSIGN(out.changes, workspace::TakeLocalChanges(*repository));
    if (out.changes->empty()) out.changes.reset();
    // Of a remote that is known by its URL alone nothing is known of what it has: the daemon finds out.
    if (!remote->name.empty()) {
      CR_TRY_ASSIGN(out.bundle, workspace::BundleLocalCommits(*repository, *remote));
    }
  } else {
    CR_TRY_ASSIGN(const auto dirty, workspace::LookAtWorkTree(*repository));
    if (dirty == workspace::WorkTree::kDirty) {
      out.notes.emplace_back(
          "the work tree has changes that are not committed, and the sandbox gets the commit "
          "without them; --copy-in takes them along");
    }
  }
  LetItBeFetched(remote->url, out.policy);
  out.work_tree = *std::move(repository);
  return out;
}

}  // namespace cleanroom::cli
