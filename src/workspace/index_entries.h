// What git tracks: the entries of an index, of a commit's tree, and the difference of two trees.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "workspace/git.h"

namespace cleanroom::workspace {

// As git writes modes: "100644", "100755", "120000" (a symbolic link), "160000" (a submodule).
inline constexpr std::string_view kModeFile = "100644";
inline constexpr std::string_view kModeProgram = "100755";
inline constexpr std::string_view kModeLink = "120000";
inline constexpr std::string_view kModeSubmodule = "160000";

struct TrackedFile {
  std::string path;
  std::string mode;
  std::string id;  // of the blob, or of a submodule's commit
  int stage = 0;   // not 0: of a merge that is not finished
  bool operator==(const TrackedFile&) const = default;
};

// `call` may name another index.
Result<std::vector<TrackedFile>> ReadIndex(const Git& git, const GitCall& call = {});
// All files of a commit or tree, by path.
Result<std::unordered_map<std::string, TrackedFile>> ReadTree(const Git& git,
                                                              const std::string& tree);

struct TreeChange {
  std::string path;
  std::string old_mode, old_id;  // empty: it is new
  std::string mode, id;          // empty: it is deleted
};
// `args`: what makes git print "raw" with -z and --no-renames, as diff-tree and diff-index do.
Result<std::vector<TreeChange>> ReadChanges(const Git& git, const std::vector<std::string>& args,
                                            const GitCall& call = {});

}  // namespace cleanroom::workspace
