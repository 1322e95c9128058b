// ChangeSet: local work on a commit, as a client sends it ("git-diff-v1"), checked against the
// mirror and made into what is to be done in a sandbox: files to write, and paths to remove.
//
// The patch is hostile. git applies it to an index of its own, with new objects in a folder of its
// own, under the limits and walls of local runs (git/run.h): the mirror stays as it is, no file is
// written by its name, and git refuses paths that leave the tree or mean .git.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "archive/byte_source.h"
#include "base/result.h"
#include "git/scratch_repository.h"

namespace cleanroom::repository {

inline constexpr std::string_view kChangeSetFormat = "git-diff-v1";
inline constexpr uint64_t kMaxPatchBytes = uint64_t{1} << 30;
inline constexpr size_t kMaxChangedFiles = 1'000'000;

struct ChangedPath {
  std::string path;  // bytes, as in git's trees
  bool deleted = false;
};

struct ChangeSet {
  std::string format;
  std::string base_commit;  // a full id
  std::string digest;       // SHA-256 of the patch, in hexadecimal digits
  std::string tree;         // the id of the tree that the patch makes of the commit's
  std::string patch;        // `git diff --binary --full-index`
  std::vector<ChangedPath> files;
};

class AppliedChanges {
 public:
  // Paths that are to go, each a file or a link.
  const std::vector<std::string>& removed() const { return removed_; }
  bool empty() const { return written_.empty() && removed_.empty(); }
  // Whether there are files to write.
  bool writes() const { return !written_.empty(); }
  // A tar of the files as a checkout would write them, with their folders, paths relative to the
  // work tree. This outlives it.
  Result<std::unique_ptr<archive::ByteSource>> OpenArchive(const git::Control& control) const;

 private:
  friend Result<AppliedChanges> ApplyChangeSet(const git::Mirror&, const std::string&,
                                               const ChangeSet&, const git::Control&);
  explicit AppliedChanges(git::ScratchRepository scratch) : scratch_(std::move(scratch)) {}

  git::ScratchRepository scratch_;
  std::string written_;  // the id of a tree of nothing but what is to be written; empty: nothing
  std::vector<std::string> removed_;
};

// `mirror` has `commit`, which the change set must be of, and is in use while the answer lives.
// invalid_argument for a change set that contradicts itself or does not apply, with git's reason;
// resource_exhausted beyond the limits.
Result<AppliedChanges> ApplyChangeSet(const git::Mirror& mirror, const std::string& commit,
                                      const ChangeSet& changes, const git::Control& control);

}  // namespace cleanroom::repository
