// SandboxDiff: the difference between the commit that a sandbox began with and its work tree, as git
// shows it, from what ReadIncoming has judged.
//
// Made in a repository of its own in a temporary folder. That borrows the commit's objects from the
// user's and has nothing else of it, and nothing in it runs: no hook, external diff, textconv or
// filter driver, also none of the user's, for the contents are hostile. What git itself does with
// line ends and encodings as .gitattributes of the trees say, it does: a file that differs in that
// alone does not differ.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "os/file.h"
#include "workspace/git.h"
#include "workspace/incoming.h"
#include "workspace/repository.h"

namespace cleanroom::workspace {

struct DiffedFile {
  std::string path;
  std::string old_mode, mode;  // as git writes them (index_entries.h); empty where it is not there
  struct Lines {
    uint64_t added = 0, removed = 0;
  };
  std::optional<Lines> lines{};  // of text
};

class SandboxDiff {
 public:
  // `tar`: what `incoming` was read from. failed_precondition where `repository` does not have the
  // commit, or as a partial clone not what is needed of it.
  static Result<SandboxDiff> Make(const Repository& repository, const std::string& commit,
                                  const Incoming& incoming, int tar);

  bool differs() const { return tree_ != base_tree_; }
  // What cannot be shown as a change to the commit.
  const std::vector<RefusedPath>& left_out() const { return left_out_; }

  // By path.
  Result<std::vector<DiffedFile>> Files() const;
  // kPatch: for `git apply`; kStat and kNames as `git diff --stat` and `--name-only`.
  enum class Form { kPatch, kStat, kNames };
  Result<void> Print(Form form, const Git::DataFn& on_data) const;

 private:
  SandboxDiff(os::TempDir scratch, Git git) : scratch_(std::move(scratch)), git_(std::move(git)) {}
  Result<void> Record(const Incoming& incoming, int tar, const std::string& commit);
  Result<void> Unpack(const std::vector<const IncomingFile*>& files, int tar) const;
  std::vector<std::string> DiffTree(std::vector<std::string> options) const;

  os::TempDir scratch_;
  Git git_;  // of the temporary repository
  GitCall call_;
  std::string base_tree_, tree_;
  std::vector<RefusedPath> left_out_;
};

}  // namespace cleanroom::workspace
