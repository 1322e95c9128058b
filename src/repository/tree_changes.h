// What has changed between two trees, as `git diff-tree -r -z --raw --no-renames` prints it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace cleanroom::repository {

struct TreeChange {
  std::string path;      // bytes, as in git's trees
  std::string mode, id;  // afterwards, as git writes them
  bool deleted = false;
};

// data_corrupt for another text, resource_exhausted for more than `most` changes.
Result<std::vector<TreeChange>> ParseTreeChanges(std::string_view text, size_t most);

}  // namespace cleanroom::repository
