// ChangeSet: what the work tree has that its commit has not, in the form that travels
// (cleanroom.v1.RepositoryChangeset, "git-diff-v1").
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "workspace/snapshot.h"

namespace cleanroom::workspace {

inline constexpr std::string_view kChangeSetFormat = "git-diff-v1";

struct ChangedFile {
  std::string path;
  std::string mode;  // as git writes it (index_entries.h); empty where deleted
  std::string id;    // of the blob, in the repository's object format; empty where deleted
  std::string
      sha256;  // of the contents that git records (a link's: its target); empty where deleted
  bool deleted = false;
  bool operator==(const ChangedFile&) const = default;
};

struct ChangeSet {
  std::string base_commit;
  std::string tree;                // the id of the tree that the patch makes of the commit's
  std::string patch;               // `git diff --binary --full-index`
  std::string digest;              // SHA-256 of the patch, in hexadecimal digits
  std::vector<ChangedFile> files;  // in git's order
  std::vector<LeftOut> left_out;

  // Nothing to send: the tree is the commit's.
  bool empty() const { return files.empty(); }
};

struct ChangeSetLimits {
  SnapshotLimits snapshot{};
  uint64_t max_patch_bytes = 1ull << 30;
};

// The errors of Snapshot::Take, and resource_exhausted for too large a patch. The repository is not
// written to.
Result<ChangeSet> TakeLocalChanges(const Repository& repository,
                                   const ChangeSetLimits& limits = {});

// The same without the patch and the digests, whose making takes longer than all the rest: for whoever
// sends the files themselves.
Result<ChangeSet> ListLocalChanges(const Repository& repository,
                                   const ChangeSetLimits& limits = {});

}  // namespace cleanroom::workspace
