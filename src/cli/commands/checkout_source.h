// Which repository a new sandbox begins with: the one of the work tree that the command was started
// in, or the one that --repo-url names; and whose policy then counts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cleanroom/v1/sandbox.pb.h"
#include "cli/commands/policy_source.h"
#include "cli/commands/run_flags.h"
#include "workspace/change_set.h"
#include "workspace/commit_bundle.h"
#include "workspace/repository.h"

namespace cleanroom::cli {

struct CheckoutSource {
  std::optional<v1::RepositoryCheckout> checkout;  // nothing: the sandbox gets no repository
  std::optional<workspace::Repository> work_tree;  // that the checkout is of; not with --repo-url
  PolicySource policy;                             // may be the commit's, which the daemon reads
  // What goes with it, with --copy-in: local changes, and commits that the remote does not have.
  std::optional<workspace::ChangeSet> changes;
  std::optional<workspace::CommitBundle> bundle;
  std::vector<std::string> notes;  // for the user, a line each
};

// For exec, console and create without --in.
//
// With --repo-url the policy is that of -c, or the file in the current directory itself, or
// --image, or the commit's. In a work tree it is that of -c, or of HEAD, or,
// with local changes, of the work tree. Outside of one, in a work
// tree without the policy's remote, and where the policy says `repository: { enabled: false }`,
// everything is as LocatePolicy has it; what was not checked out is told in a note, and is an error
// where the policy has a `repository` block.
Result<CheckoutSource> LocateCheckout(const RunFlags& flags, DefaultImageSource* default_image);

}  // namespace cleanroom::cli
