#include "repository/change_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/sha256/sha256.h"
#include "git/ref_name.h"
#include "os/file.h"
#include "repository/tree_changes.h"
#include "repository/work_tree.h"

namespace cleanroom::repository {
namespace {

// Names and ids of all changes.
constexpr size_t kMaxListing = 512 << 20;

Error Refused(std::string message) {
  return Error(ErrorCode::kInvalidArgument, "the change set " + std::move(message));
}

Result<void> CheckItself(const std::string& commit, const ChangeSet& changes) {
  if (changes.format != kChangeSetFormat) {
    return Err(Refused(fmt::format("has the format {}, of which this daemon knows only {}",
                                   changes.format.substr(0, 64), kChangeSetFormat)));
  }
  if (changes.base_commit != commit) {
    return Err(Refused(fmt::format("is of commit {}, and the checkout is of {}",
                                   changes.base_commit.substr(0, 64), commit)));
  }
  if (changes.patch.size() > kMaxPatchBytes || changes.files.size() > kMaxChangedFiles) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("the change set has {} MiB in {} files, more than {} MiB or {} files",
                           changes.patch.size() >> 20, changes.files.size(), kMaxPatchBytes >> 20,
                           kMaxChangedFiles));
  }
  if (Sha256Hex(changes.patch) != changes.digest) {
    return Err(Refused("was damaged on its way: its digest is another"));
  }
  return {};
}

Result<void> CheckFiles(const std::vector<TreeChange>& made, const std::vector<ChangedPath>& said) {
  std::vector<std::pair<std::string_view, bool>> a, b;
  for (const auto& one : made) a.emplace_back(one.path, one.deleted);
  for (const auto& one : said) b.emplace_back(one.path, one.deleted);
  std::ranges::sort(a);
  std::ranges::sort(b);
  if (a == b) return {};
  const auto [first, second] = std::ranges::mismatch(a, b);
  const std::string_view path = first != a.end() ? first->first : second->first;
  return Err(Refused(fmt::format("does to other files than it lists; the first of them is {}",
                                 path.substr(0, 256))));
}

// Local runs of git in the repository of the change set, with an index by this name.
class Runner {
 public:
  Runner(const git::ScratchRepository& scratch, const git::Control& control,
         const std::string& index = "index")
      : scratch_(scratch), control_(control), index_(scratch.folder() / index) {}

  Result<std::string> Run(std::vector<std::string> args, std::string input = {}) const {
    git::Command command;
    command.args = std::move(args);
    command.git_dir = scratch_.repository().path();
    command.environment = {"GIT_INDEX_FILE=" + index_.string()};
    command.input = std::move(input);
    command.max_output = kMaxListing;
    return scratch_.repository().git().Local(command, control_);
  }
  Result<std::string> Line(std::vector<std::string> args) const {
    CR_TRY_ASSIGN(std::string text, Run(std::move(args)));
    while (text.ends_with('\n')) text.pop_back();
    return text;
  }

 private:
  const git::ScratchRepository& scratch_;
  const git::Control& control_;
  std::filesystem::path index_;
};

std::string WorkTreeOf(const git::ScratchRepository& scratch) {
  return (scratch.folder() / "work-tree").string();
}

// A work tree with nothing in it but the attributes of the whole tree: the tree of what is written
// has only those that have changed.
Result<void> CheckOutAttributes(const git::ScratchRepository& scratch, const Runner& runner) {
  const std::string work_tree = WorkTreeOf(scratch);
  CR_TRY(os::MakeDirs(work_tree));
  CR_TRY_ASSIGN(std::string names,
                runner.Run({"ls-files", "-z", "--", ":(glob)**/.gitattributes"}));
  if (names.empty()) return {};
  CR_TRY(runner.Run(
      {"-C", work_tree, "--work-tree=" + work_tree, "checkout-index", "-z", "--stdin", "--force"},
      std::move(names)));
  return {};
}

}  // namespace

Result<AppliedChanges> ApplyChangeSet(const git::Mirror& mirror, const std::string& commit,
                                      const ChangeSet& changes, const git::Control& control) {
  CR_TRY(CheckItself(commit, changes));
  CR_TRY_ASSIGN(git::ScratchRepository scratch,
                git::ScratchRepository::Create(mirror, git::ObjectFormatOf(commit),
                                               git::ScratchRepository::Refs::kNone, control));
  AppliedChanges out(std::move(scratch));
  const Runner runner(out.scratch_, control);
  CR_TRY(runner.Run({"read-tree", "--end-of-options", commit}));
  if (!changes.patch.empty()) {
    auto applied =
        runner.Run({"apply", "--cached", "--binary", "--whitespace=nowarn", "-"}, changes.patch);
    if (!applied && applied.error().code() == ErrorCode::kDataCorrupt) {
      return Err(Refused("does not apply: " + applied.error().message()));
    }
    CR_TRY(applied);
  }
  CR_TRY_ASSIGN(const std::string tree, runner.Line({"write-tree"}));
  if (tree != changes.tree) {
    return Err(
        Refused(fmt::format("makes the tree {}, and says {}", tree, changes.tree.substr(0, 64))));
  }
  CR_TRY_ASSIGN(const std::string raw,
                runner.Run({"diff-tree", "-r", "-z", "--raw", "--no-renames", "--full-index",
                            "--end-of-options", commit, tree}));
  CR_TRY_ASSIGN(const auto differences, ParseTreeChanges(raw, kMaxChangedFiles));
  CR_TRY(CheckFiles(differences, changes.files));
  std::string entries;  // as `update-index --index-info` reads them
  for (const TreeChange& one : differences) {
    if (one.deleted) {
      out.removed_.push_back(one.path);
    } else {
      entries += fmt::format("{} {}\t{}", one.mode, one.id, one.path);
      entries += '\0';
    }
  }
  if (entries.empty()) return out;
  CR_TRY(WriteAttributes(out.scratch_.repository().path()));
  CR_TRY(CheckOutAttributes(out.scratch_, runner));
  const Runner writer(out.scratch_, control, "written");
  CR_TRY(writer.Run({"update-index", "-z", "--index-info"}, std::move(entries)));
  CR_TRY_ASSIGN(out.written_, writer.Line({"write-tree"}));
  return out;
}

Result<std::unique_ptr<archive::ByteSource>> AppliedChanges::OpenArchive(
    const git::Control& control) const {
  git::Command command;
  const std::string work_tree = WorkTreeOf(scratch_);
  // git looks for attributes from the folder that it runs in.
  command.args = {"-C",
                  work_tree,
                  "--work-tree=" + work_tree,
                  "archive",
                  "--format=tar",
                  "--worktree-attributes",
                  "--end-of-options",
                  written_};
  command.git_dir = scratch_.repository().path();
  command.config = {"tar.umask=0022"};
  return scratch_.repository().git().LocalStream(command, control);
}

}  // namespace cleanroom::repository
