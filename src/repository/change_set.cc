#include "repository/change_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/sha256/sha256.h"
#include "os/file.h"

namespace cleanroom::repository {
namespace {

constexpr const char* kWorkTree = "work-tree";
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

struct ChangedEntry {
  std::string path;
  std::string mode, id;  // afterwards
  bool deleted;
};

// ":OLDMODE NEWMODE OLDID NEWID STATUS", NUL, path, NUL: what `git diff-tree -z --raw` prints.
Result<std::vector<ChangedEntry>> ParseRaw(std::string_view text) {
  std::vector<ChangedEntry> out;
  const auto damaged = [] { return Err(ErrorCode::kDataCorrupt, "git's list of changes is cut"); };
  while (!text.empty()) {
    const size_t head = text.find('\0');
    if (head == text.npos || text[0] != ':') return damaged();
    std::array<std::string_view, 5> words;
    std::string_view line = text.substr(1, head - 1);
    for (std::string_view& word : words) {
      word = line.substr(0, line.find(' '));
      line.remove_prefix(std::min(word.size() + 1, line.size()));
    }
    text.remove_prefix(head + 1);
    const size_t end = text.find('\0');
    if (end == text.npos || words[4].size() != 1) return damaged();
    out.push_back({.path = std::string(text.substr(0, end)),
                   .mode = std::string(words[1]),
                   .id = std::string(words[3]),
                   .deleted = words[4] == "D"});
    text.remove_prefix(end + 1);
  }
  return out;
}

Result<void> CheckFiles(const std::vector<ChangedEntry>& made,
                        const std::vector<ChangedPath>& said) {
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

// A repository with the mirror's objects below its own, and attributes that beat the commit's:
// nothing is left out of what is written, and no filter runs.
Result<void> MakeRepository(const std::filesystem::path& folder,
                            const std::filesystem::path& mirror, const std::string& commit) {
  for (const char* name : {"objects/info", "refs", "info"}) {
    CR_TRY(os::MakeDirs((folder / name).string()));
  }
  const bool sha256 = commit.size() == 64;
  const std::pair<const char*, std::string> files[] = {
      {"HEAD", "ref: refs/heads/none\n"},
      {"config",
       fmt::format("[core]\n\trepositoryformatversion = {}\n\tbare = true\n{}", sha256 ? 1 : 0,
                   sha256 ? "[extensions]\n\tobjectformat = sha256\n" : "")},
      {"objects/info/alternates", (mirror / "objects").string() + "\n"},
      {"info/attributes", "* -export-ignore -export-subst -filter\n"},
  };
  for (const auto& [name, text] : files) {
    CR_TRY(os::WriteFileAtomic((folder / name).string(), text));
  }
  return {};
}

// Local runs of git in the repository of the change set, with an index by this name.
class Runner {
 public:
  Runner(const git::Git& git, std::filesystem::path folder, const git::Control& control,
         const std::string& index = "index")
      : git_(git), folder_(std::move(folder)), control_(control), index_(folder_ / index) {}
  const std::filesystem::path& folder() const { return folder_; }

  Result<std::string> Run(std::vector<std::string> args, std::string input = {}) const {
    git::Command command;
    command.args = std::move(args);
    command.git_dir = folder_;
    command.environment = {"GIT_INDEX_FILE=" + index_.string()};
    command.input = std::move(input);
    command.max_output = kMaxListing;
    return git_.Local(command, control_);
  }
  Result<std::string> Line(std::vector<std::string> args) const {
    CR_TRY_ASSIGN(std::string text, Run(std::move(args)));
    while (text.ends_with('\n')) text.pop_back();
    return text;
  }

 private:
  const git::Git& git_;
  std::filesystem::path folder_;
  const git::Control& control_;
  std::filesystem::path index_;
};

// A work tree with nothing in it but the attributes of the whole tree: the tree of what is written
// has only those that have changed.
Result<void> WriteAttributes(const Runner& runner) {
  const std::string work_tree = (runner.folder() / kWorkTree).string();
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

Result<AppliedChanges> ApplyChangeSet(const git::Git& git, const std::filesystem::path& mirror,
                                      const std::filesystem::path& folder,
                                      const std::string& commit, const ChangeSet& changes,
                                      const git::Control& control) {
  CR_TRY(CheckItself(commit, changes));
  CR_TRY_ASSIGN(os::TempFolder own, os::TempFolder::Create(folder));
  AppliedChanges out(git, std::move(own));
  CR_TRY(MakeRepository(out.folder_.path(), mirror, commit));
  const Runner runner(git, out.folder_.path(), control);
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
  CR_TRY_ASSIGN(const auto differences, ParseRaw(raw));
  CR_TRY(CheckFiles(differences, changes.files));
  std::string entries;  // as `update-index --index-info` reads them
  for (const ChangedEntry& one : differences) {
    if (one.deleted) {
      out.removed_.push_back(one.path);
    } else {
      entries += fmt::format("{} {}\t{}", one.mode, one.id, one.path);
      entries += '\0';
    }
  }
  if (entries.empty()) return out;
  CR_TRY(WriteAttributes(runner));
  const Runner writer(git, out.folder_.path(), control, "written");
  CR_TRY(writer.Run({"update-index", "-z", "--index-info"}, std::move(entries)));
  CR_TRY_ASSIGN(out.written_, writer.Line({"write-tree"}));
  return out;
}

Result<std::unique_ptr<archive::ByteSource>> AppliedChanges::OpenArchive(
    const git::Control& control) const {
  git::Command command;
  const std::string work_tree = (folder_.path() / kWorkTree).string();
  // git looks for attributes from the folder that it runs in.
  command.args = {"-C",
                  work_tree,
                  "--work-tree=" + work_tree,
                  "archive",
                  "--format=tar",
                  "--worktree-attributes",
                  "--end-of-options",
                  written_};
  command.git_dir = folder_.path();
  command.config = {"tar.umask=0022"};
  return git_->LocalStream(command, control);
}

}  // namespace cleanroom::repository
