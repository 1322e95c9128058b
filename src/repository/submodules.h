// The submodules of a commit: found in its tree and its .gitmodules, and fetched, each into the mirror
// of its own remote. Both are hostile: what they name is of the host and port that the repository
// itself is of, and inside the work tree.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "git/mirror_store.h"
#include "git/remote_url.h"

namespace cleanroom::repository {

inline constexpr int kMaxSubmoduleDepth = 5;

struct Submodule {
  std::string path;     // of its folder, from the top of the whole work tree
  std::string git_dir;  // ".git/modules/NAME", of a nested one "…/modules/NAME" in its parent's
  std::string name;     // in the .gitmodules of its parent
  std::string origin;   // RemoteUrl::origin()
  size_t parent = 0;    // in the list, counted from 1; 0: the repository itself
  git::Resolved resolved;
};

// Reads a URL by the rules of whoever fetches.
using ParseUrlFn = std::function<Result<git::RemoteUrl>(const std::string& text)>;

// In the order in which they are found, parents first. `source` has the commit, and `remote` is where
// it is from.
//
// Errors name the submodule's folder. invalid_argument and host_not_allowed for a URL that is not
// fetched from; not_found for a commit that its remote does not have; failed_precondition for a folder
// of which .gitmodules does not know; data_corrupt and resource_exhausted for a .gitmodules as
// ParseModules says, more than kMaxModules in all, or deeper than kMaxSubmoduleDepth.
Result<std::vector<Submodule>> FindSubmodules(const git::MirrorStore& mirrors,
                                              const git::Mirror& source, const std::string& commit,
                                              const git::RemoteUrl& remote,
                                              const ParseUrlFn& parse_url,
                                              const git::Control& control);

}  // namespace cleanroom::repository
