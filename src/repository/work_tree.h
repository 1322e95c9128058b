// Work tree layers, whole and as a delta over another.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
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

 private:
  bool IsDelta() const { return !plan_.base.empty(); }
  HashAlgorithm Algorithm() const;
  Result<GitIndex> MakeIndex(const std::filesystem::path& folder) const;
  Result<int64_t> CommitTime() const;
  Result<void> AddFiles(LayerFile& layer);
  Result<void> AddArchive(LayerFile& layer, const std::vector<std::string>& paths);
  Result<void> AddWhiteouts(LayerFile& layer, const GitIndex& index) const;
  Result<void> AddGitFolder(LayerFile& layer) const;
  Result<int64_t> SetStats(GitIndex& index, const std::vector<uint32_t>& numbers, int64_t mtime);
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
};

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
