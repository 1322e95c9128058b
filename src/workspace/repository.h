// Repository: what is known of the git work tree that a command was started in. Nothing is written,
// nothing is fetched.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "workspace/git.h"
#include "workspace/remote_url.h"

namespace cleanroom::workspace {

struct Repository {
  std::shared_ptr<const Git> git;  // runs in `top`

  std::string top;            // of the work tree; absolute, links resolved
  std::string prefix;         // from there to the folder asked about: "" or "a/b/"
  std::string object_format;  // "sha1" or "sha256"

  std::string commit;  // HEAD, the full id
  std::string branch;  // "" when HEAD is detached
};

// The repository whose work tree `folder` is in: the nearest folder upwards with a .git. An error
// that says which it is for: no repository (failed_precondition), a bare one, a .git folder, no
// commit yet, one of another user's that git refuses (permission_denied), one whose config puts the
// work tree elsewhere (it could name any folder of the user's).
Result<Repository> Discover(const std::string& folder);

// failed_precondition where the repository does not have this commit, with which a sandbox began.
Result<void> CheckHasCommit(const Repository& repository, const std::string& commit);

struct Remote {
  std::string name;  // "" when a URL was given that no remote has
  RemoteUrl url;     // without credentials, after the user's `insteadOf`
};

// `wanted`: the name of a remote, or a URL. not_found, naming those that there are.
Result<Remote> FindRemote(const Repository& repository, const std::string& wanted);

// Where commits are, as far as this clone knows without asking: kUnknown may be a commit that was
// pushed and never fetched.
enum class Upstream { kHasIt, kUnknown };
Result<Upstream> IsUpstream(const Repository& repository, const Remote& remote,
                            const std::string& commit);

// Whether the work tree has anything that HEAD has not: changes, deletions, untracked files that
// are not ignored, submodules included.
enum class WorkTree { kClean, kDirty };
Result<WorkTree> LookAtWorkTree(const Repository& repository);

// What rev-list takes for "what the remote has": "--remotes=NAME", or nothing where the remote is
// known by no name.
std::vector<std::string> RefsOf(const Remote& remote);

}  // namespace cleanroom::workspace
