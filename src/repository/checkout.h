// The layers of a commit: what a sandbox mounts, read-only and over each other, as its work tree with
// a complete .git.
//
//   objects    the packs of the mirror as they were once (a generation), shared by many commits
//   work tree  the files as `git checkout` writes them, .git but for those packs, a small pack of what
//              the generation does not have, and an index whose stat data are those of the files, so
//              that `git status` reads no content
//   delta      the same over the work tree of a near commit: the files that differ, marks for those
//              that are gone, .git anew
//
//   submodules the files of all submodules and .git/modules (submodule_layer.h), where they are wanted
//
// A guest mounts lowerdir=[submodules:][delta:]work-tree:objects, with xino: the low 32 bits of a file's
// inode number are then those that the index has. Filters never run: pointers of git-lfs stay pointers,
// and are counted. Submodules that are not wanted are empty folders.
//
// Errors about submodules: FindSubmodules (submodules.h).
//
// Paths come from hostile repositories: what git protects against (.git in any spelling, "..", absolute
// paths) is data_corrupt; more than LayerLimits allow is resource_exhausted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "git/mirror_store.h"
#include "layers/layer_store.h"
#include "repository/bundle.h"
#include "repository/layer_file.h"
#include "repository/submodules.h"

namespace cleanroom::repository {

enum class Submodules : uint8_t { kEmptyFolders, kCheckedOut };
enum class Phase : uint8_t { kObjects, kWorkTree };

struct Progress {
  Phase phase = Phase::kObjects;
  uint64_t files = 0;  // so far
  uint64_t bytes = 0;
};

struct CheckoutOptions {
  Owner owner{};
  std::string origin{};  // what `git remote get-url origin` says there: RemoteUrl::origin()
  Submodules submodules = Submodules::kEmptyFolders;
  // Reads `origin` and the URLs of submodules; by the mirrors' rules when it is not set.
  ParseUrlFn parse_url{};
  // Its commit is checked out, not the resolved one; its objects go into the work tree's layer, which
  // nobody else gets without the same bundle.
  const VerifiedBundle* bundle = nullptr;
  LayerLimits limits{};
  // A commit of fewer files gets a work tree of its own at all times.
  uint64_t least_files_for_delta = 1000;
  uint64_t most_changes_in_delta = 2000;
  // A new generation is made when what it lacks exceeds both.
  uint64_t least_pack_for_generation = 16ull << 20;
  uint32_t percent_for_generation = 25;
};

struct CheckoutControl {
  git::Control git{};
  std::function<void(const Progress&)> progress{};  // from the calling thread
};

struct CheckoutLayer {
  layers::LayerRecord record;
  bool made_now = false;
};

struct CheckedOut {
  std::vector<CheckoutLayer> layers;  // top first
  uint64_t files = 0;
  uint64_t bytes = 0;         // of their content
  uint64_t lfs_pointers = 0;  // files of which git-lfs has the content
};

class Checkouts {
 public:
  // Both outlive this.
  Checkouts(const git::MirrorStore& mirrors, const layers::LayerStore& layers)
      : mirrors_(mirrors), layers_(layers) {}

  // Makes what is not there yet. Blocks, for seconds with a large repository.
  Result<CheckedOut> Make(const git::Resolved& resolved, const CheckoutOptions& options,
                          const CheckoutControl& control) const;

 private:
  const git::MirrorStore& mirrors_;
  const layers::LayerStore& layers_;
};

}  // namespace cleanroom::repository
