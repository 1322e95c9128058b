// .gitmodules of a commit: where its submodules are to be had. Hostile: what is taken is a name that
// can be a folder in .git/modules, and a path in the work tree.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace cleanroom::repository {

inline constexpr size_t kMaxModulesFile = 256 << 10;  // bytes
inline constexpr size_t kMaxModules = 256;            // of one file, and of a checkout

struct Module {
  std::string name;
  std::string path;  // relative to the work tree
  std::string url;   // as it stands there
  bool operator==(const Module&) const = default;
};

// `listing`: what `git config --list -z` prints of the file. In the order of the paths. data_corrupt,
// naming the submodule, for what would do harm: names or paths with "..", ".git", '-' at their start,
// control characters; two of one name or path, one within another's folder. resource_exhausted beyond
// the limits. Sections without a path and a URL are left out, as git does with them.
Result<std::vector<Module>> ParseModules(std::string_view listing);

}  // namespace cleanroom::repository
