// Submodules layers: the files of all submodules of a commit, and of each a complete git folder with all
// its history in .git/modules. It is mounted above the work tree, whose folders of submodules are empty.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "git/mirror_store.h"
#include "layers/layer_store.h"
#include "repository/layer_file.h"
#include "repository/submodules.h"
#include "repository/work_tree.h"

namespace cleanroom::repository {

// The key of their layer: of all that decides about its bytes but the remotes' other branches and tags.
std::string SubmodulesKey(const std::vector<Submodule>& submodules, const Owner& owner);

struct SubmodulesPlan {
  const std::vector<Submodule>& submodules;
  std::filesystem::path scratch;  // for folders that packs are made in
  Owner owner;
  LayerLimits limits;
  std::string identity;
  std::function<void(uint64_t files, uint64_t bytes)> progress{};
};

// Writes layer.ext4 into `folder`.
Result<WorkTreeCounts> BuildSubmodules(const git::MirrorStore& mirrors,
                                       const layers::LayerStore& layers, const SubmodulesPlan& plan,
                                       const std::filesystem::path& folder,
                                       const git::Control& control);

}  // namespace cleanroom::repository
