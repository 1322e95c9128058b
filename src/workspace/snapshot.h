// Snapshot: the work tree as a git tree, made without touching the repository: its index is copied,
// and new objects go to a folder of their own that has the repository's as alternate. (git renews the
// time of an object there that it was about to write.)
//
// In it: tracked files as the work tree has them, deletions, untracked files that git does not
// ignore. Not in it: what .cleanroomignore keeps back (those paths are as HEAD has them), ignored
// files, empty folders (git knows none), repositories in the repository that are no submodules.
//
// Contents are what `git add` would record: line ends and `ident` as .gitattributes say, and
// through the filter drivers of the user's own config (Git LFS, say, which may then store its
// objects in the repository's folder). Drivers that the repository's config defines do not count.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "os/file.h"
#include "workspace/index_entries.h"
#include "workspace/repository.h"

namespace cleanroom::workspace {

struct SnapshotLimits {
  size_t max_files = 250'000;               // that differ from the index
  uint64_t max_content_bytes = 4ull << 30;  // of those, as they lie on the disk
};

// What does not travel though git lists it, for the user to know.
struct LeftOut {
  std::string path;
  std::string reason;
  bool operator==(const LeftOut&) const = default;
};

class Snapshot {
 public:
  // Refused by name (failed_precondition): an unfinished merge, submodules with changes, a name
  // that is not UTF-8 (invalid_argument). A file that changes while it is read is read once more;
  // unavailable, naming it, when it still changes. resource_exhausted, naming the largest file,
  // above a limit.
  static Result<Snapshot> Take(const Repository& repository, const SnapshotLimits& limits = {});

  const std::string& tree() const { return tree_; }
  const std::vector<LeftOut>& left_out() const { return left_out_; }
  // For calls of git that are to see the snapshot's objects; its index too.
  const GitCall& call() const { return call_; }
  // A folder that goes with this object.
  const std::string& scratch() const { return scratch_.path(); }

 private:
  struct Paths {
    std::vector<std::string> present, deleted;
    bool empty() const { return present.empty() && deleted.empty(); }
  };
  explicit Snapshot(os::TempDir scratch) : scratch_(std::move(scratch)) {}
  Result<void> PrepareIndex(const Repository& repository);
  Result<Paths> ListChanges(const Git& git);
  Result<void> AddUntracked(const Repository& repository, const SnapshotLimits& limits,
                            Paths& paths);
  Result<void> KeepBack(const Repository& repository, const std::vector<TrackedFile>& tracked,
                        Paths& paths);
  Result<void> Record(const Git& git, const Paths& paths);
  Result<Paths> Drifted(const Git& git);

  os::TempDir scratch_;
  GitCall call_;
  std::string tree_;
  std::vector<LeftOut> left_out_;
  std::unordered_set<std::string> kept_back_;
};

}  // namespace cleanroom::workspace
