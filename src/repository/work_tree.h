// Work tree layers, whole and as a delta over another.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "git/mirror.h"
#include "repository/git_folder.h"
#include "repository/git_index.h"
#include "repository/layer_file.h"

namespace cleanroom::repository {

// What lies beside a whole work tree's layer, for deltas over it.
inline constexpr const char* kIndexBeside = "index";
inline constexpr const char* kPointersBeside = "lfs-pointers";  // paths, each with a NUL behind it

struct WorkTreeCounts {
  uint64_t files = 0, bytes = 0, lfs_pointers = 0;
};

struct WorkTreePlan {
  GitFolder git_folder;
  std::vector<git::Ref> refs;           // of the mirror
  std::filesystem::path packs;          // folder of the packs that go in
  std::vector<std::string> pack_files;  // their names
  Owner owner;
  LayerLimits limits;
  std::string identity;                // the layer's key
  std::string prefix{};                // of a submodule: its folder, with a '/' at its end
  std::string git_dir = ".git";        // where its git folder is
  std::filesystem::path base{};        // of a delta: the folder of the layer below
  std::vector<std::string> changed{};  // of a delta: paths that are not as below
  std::vector<std::string> removed{};  // of a delta: paths that are gone
  std::function<void(uint64_t files, uint64_t bytes)> progress{};
};

// Writes layer.ext4, and what lies beside it, into `folder`.
class WorkTreeBuilder {
 public:
  // All outlive this.
  WorkTreeBuilder(const git::Mirror& mirror, const WorkTreePlan& plan, const git::Control& control)
      : mirror_(mirror), plan_(plan), control_(control) {}

  Result<WorkTreeCounts> Build(const std::filesystem::path& folder);

  // The same in steps, for a layer that has several work trees; in this order.
  //
  // Reads the commit; `folder` is for files meanwhile.
  Result<void> Begin(const std::filesystem::path& folder);
  int64_t commit_time() const { return commit_time_; }
  // Everything but the index, whose name is reserved.
  Result<void> AddTo(LayerFile& layer);
  // The index, when all names are there. `mtime`: that the files of the layer get.
  struct Completed {
    std::string index;
    LayerFile::NodeId node = 0;  // of the index
    int64_t newest = 0;          // of the times of all files, also those of the layer below
  };
  Result<Completed> Complete(LayerFile& layer, const std::vector<uint32_t>& numbers, int64_t mtime);
  const WorkTreeCounts& counts() const { return counts_; }

 private:
  bool IsDelta() const { return !plan_.base.empty(); }
  HashAlgorithm Algorithm() const;
  Result<GitIndex> MakeIndex(const std::filesystem::path& folder) const;
  Result<int64_t> CommitTime() const;
  Result<void> AddFiles(LayerFile& layer);
  Result<void> AddArchive(LayerFile& layer, const std::vector<std::string>& paths);
  Result<void> AddWhiteouts(LayerFile& layer) const;
  Result<void> AddGitFolder(LayerFile& layer) const;
  Result<int64_t> SetStats(const std::vector<uint32_t>& numbers, int64_t mtime);
  Result<void> ReadPointersBelow();
  Result<void> WriteBeside(const std::filesystem::path& folder, const std::string& index) const;

  struct Found {
    LayerFile::NodeId node;
    uint64_t size;
  };
  const git::Mirror& mirror_;
  const WorkTreePlan& plan_;
  const git::Control& control_;
  std::unordered_map<std::string, Found> found_;  // files of this layer, by path
  std::set<std::string> pointers_;
  WorkTreeCounts counts_;
  std::optional<GitIndex> index_;
  int64_t commit_time_ = 0;
  LayerFile::NodeId index_node_ = 0;
};

// An index is to look so many seconds newer than all files, or git reads them (gitformat-index, "racy
// git").
inline constexpr int64_t kIndexLater = 10;

// Attributes for git archive that stand above the repository's: what an archive leaves out or fills
// in is as a checkout has it, and no filter runs.
Result<void> WriteAttributes(const std::filesystem::path& git_dir);

// What differs between two commits (or trees): paths to write and paths that are gone.
struct Difference {
  std::vector<std::string> changed, removed;
  bool attributes = false;  // a .gitattributes is among them, so that any file may differ
};
// resource_exhausted beyond `most` paths.
Result<Difference> Compare(const git::Mirror& mirror, const std::string& from,
                           const std::string& to, uint64_t most, const git::Control& control);

}  // namespace cleanroom::repository
