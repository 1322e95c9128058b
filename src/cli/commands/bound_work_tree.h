// A sandbox's work tree and the local one that it was made from, which the CLI remembers for it
// (workspace/binding.h).
#pragma once

#include <string>
#include <vector>

#include "base/async.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "client/api.h"
#include "workspace/binding.h"
#include "workspace/change_set.h"

namespace cleanroom::cli {

// Remembers `repository` as the one that the sandbox was made from; `manifest`: the local changes
// that went in with it.
Result<void> BindWorkTree(const ::cleanroom::v1::Sandbox& sandbox,
                          const workspace::Repository& repository,
                          const std::vector<workspace::ChangedFile>& manifest);

// failed_precondition for a sandbox that has no repository.
Awaitable<Result<::cleanroom::v1::Sandbox>> FindWithRepository(client::Api& api,
                                                               std::string sandbox_id);

// The local work tree of a sandbox that has a repository: the one that it is bound to, or one of the
// same remote and commit that the command was started in.
Result<workspace::CopyTarget> TargetOf(const ::cleanroom::v1::Sandbox& sandbox);

// A local repository with the commit that the sandbox began with: the one that it is bound to, or
// the one that the command was started in. failed_precondition, naming both, when neither has it.
Result<workspace::Repository> RepositoryWithCommitOf(const ::cleanroom::v1::Sandbox& sandbox);

}  // namespace cleanroom::cli
