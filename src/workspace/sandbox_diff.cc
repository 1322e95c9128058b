#include "workspace/sandbox_diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "archive/tar_reader.h"
#include "os/scratch.h"
#include "workspace/beneath.h"
#include "workspace/index_entries.h"
#include "workspace/tree_path.h"
#include "workspace/unpack_file.h"

namespace cleanroom::workspace {
namespace {

// What the user has configured of these would show other changes than there are, or none.
const Git::Settings& ScratchSettings() {
  static const Git::Settings kSettings = {{"core.autocrlf", "false"},
                                          {"core.safecrlf", "false"},
                                          {"core.attributesFile", "/dev/null"},
                                          {"core.fileMode", "true"},
                                          {"core.symlinks", "true"},
                                          {"core.ignoreCase", "false"},
                                          {"core.untrackedCache", "false"},
                                          {"core.protectHFS", "true"},
                                          {"core.protectNTFS", "true"},
                                          {"core.quotePath", "true"}};
  return kSettings;
}

std::string NameOf(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

// git takes no link for a .gitmodules.
bool IsLinkedModules(const IncomingFile& file) {
  if (file.mode != kModeLink) return false;
  std::string name = NameOf(file.path);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name == ".gitmodules";
}

// "ADDED\tREMOVED\tPATH", with '-' for both of what is binary.
std::optional<DiffedFile::Lines> LinesOf(std::string_view text) {
  DiffedFile::Lines lines;
  const size_t tab = text.find('\t');
  if (tab == std::string_view::npos) return std::nullopt;
  const char* const end = text.data() + text.size();
  if (std::from_chars(text.data(), end, lines.added).ec != std::errc()) return std::nullopt;
  if (std::from_chars(text.data() + tab + 1, end, lines.removed).ec != std::errc())
    return std::nullopt;
  return lines;
}

}  // namespace

Result<SandboxDiff> SandboxDiff::Make(const Repository& repository, const std::string& commit,
                                      const Incoming& incoming, int tar) {
  CR_TRY(CheckHasCommit(repository, commit));
  CR_TRY_ASSIGN(auto scratch, os::TempDir::Create());
  const std::string folder = scratch.path() + "/tree";
  CR_TRY(repository.git->Read({"init", "--quiet", "--template=",
                               "--object-format=" + repository.object_format, "--", folder}));
  CR_TRY_ASSIGN(const auto objects, repository.git->ReadLine({"rev-parse", "--path-format=absolute",
                                                              "--git-path", "objects"}));
  CR_TRY_ASSIGN(auto git, Git::OpenScratch(folder, ScratchSettings()));
  SandboxDiff out(std::move(scratch), std::move(git));
  out.call_.env = {"GIT_ALTERNATE_OBJECT_DIRECTORIES=" + QuotePath(objects), "GIT_ATTR_NOSYSTEM=1"};
  out.left_out_ = incoming.refused;
  CR_TRY(out.Record(incoming, tar, commit));
  return out;
}

// As `git add` would record it: the index of the commit, and on it what is told of the sandbox.
Result<void> SandboxDiff::Record(const Incoming& incoming, int tar, const std::string& commit) {
  CR_TRY_ASSIGN(base_tree_, git_.ReadLine({"rev-parse", "--verify", commit + "^{tree}"}, call_));
  CR_TRY(git_.Read({"read-tree", base_tree_}, call_));
  CR_TRY_ASSIGN(const auto tracked, ReadIndex(git_, call_));
  std::unordered_set<std::string_view> submodules;
  for (const TrackedFile& file : tracked) {
    if (file.mode == kModeSubmodule) submodules.insert(file.path);
  }
  const auto in_submodule = [&submodules](std::string_view path) {
    for (path = ParentOf(path); !submodules.empty() && !path.empty(); path = ParentOf(path)) {
      if (submodules.contains(path)) return true;
    }
    return false;
  };

  std::vector<const IncomingFile*> files;
  GitCall present = call_, deleted = call_;
  for (const IncomingFile& file : incoming.files) {
    if (in_submodule(file.path)) {
      left_out_.push_back({file.path, "it is a submodule's"});
    } else if (IsLinkedModules(file)) {
      left_out_.push_back({file.path, "git takes no link for it"});
    } else {
      files.push_back(&file);
      present.input.append(file.path).push_back('\0');
    }
  }
  for (const std::string& path : incoming.deleted) deleted.input.append(path).push_back('\0');
  CR_TRY(Unpack(files, tar));
  // Deletions first: a folder may be where a file was.
  if (!deleted.input.empty())
    CR_TRY(git_.Read({"update-index", "-z", "--force-remove", "--stdin"}, deleted));
  if (!present.input.empty())
    CR_TRY(git_.Read({"update-index", "-z", "--add", "--remove", "--replace", "--stdin"}, present));
  CR_TRY_ASSIGN(tree_, git_.ReadLine({"write-tree", "--missing-ok"}, call_));
  return {};
}

Result<void> SandboxDiff::Unpack(const std::vector<const IncomingFile*>& files, int tar_fd) const {
  if (files.empty()) return {};
  std::unordered_map<std::string_view, const IncomingFile*> wanted;
  for (const IncomingFile* file : files) wanted.emplace(file->path, file);
  CR_TRY_ASSIGN(const auto top, os::OpenDir(git_.folder()));
  const auto unpack = [&](archive::TarReader& tar, const archive::TarEntry& entry) -> Result<bool> {
    const auto file = wanted.find(PlainEntryPath(entry.path));
    if (file == wanted.end()) return false;
    CR_TRY_ASSIGN(const auto folder,
                  OpenFolderBeneath(top.get(), std::string(ParentOf(file->first)), Missing::kMake));
    CR_TRY(UnpackFile(tar, entry, *file->second, folder.get(), NameOf(file->first)));
    return true;
  };
  return UnpackEach(tar_fd, files.size(), unpack);
}

std::vector<std::string> SandboxDiff::DiffTree(std::vector<std::string> options) const {
  std::vector<std::string> args = {"diff-tree",     "-r",        "--no-renames", "--no-ext-diff",
                                   "--no-textconv", "--no-color"};
  args.insert(args.end(), options.begin(), options.end());
  args.insert(args.end(), {base_tree_, tree_});
  return args;
}

Result<std::vector<DiffedFile>> SandboxDiff::Files() const {
  CR_TRY_ASSIGN(const auto changes,
                ReadChanges(git_, DiffTree({"-z", "--raw", "--full-index"}), call_));
  // In the same order.
  CR_TRY_ASSIGN(const auto counts, git_.ReadNames(DiffTree({"-z", "--numstat"}), call_));
  if (changes.size() != counts.size())
    return Err(ErrorCode::kInternal, "git counts the lines of other files than have changed");
  std::vector<DiffedFile> out;
  for (size_t i = 0; i < changes.size(); ++i) {
    out.push_back({.path = changes[i].path,
                   .old_mode = changes[i].old_mode,
                   .mode = changes[i].mode,
                   .lines = LinesOf(counts[i])});
  }
  return out;
}

Result<void> SandboxDiff::Print(Form form, const Git::DataFn& on_data) const {
  switch (form) {
    case Form::kPatch:
      return git_.Stream(
          DiffTree({"-p", "--binary", "--full-index", "--src-prefix=a/", "--dst-prefix=b/"}),
          on_data, call_);
    case Form::kStat:
      return git_.Stream(DiffTree({"--stat"}), on_data, call_);
    case Form::kNames:
      return git_.Stream(DiffTree({"--name-only"}), on_data, call_);
  }
  return {};
}

}  // namespace cleanroom::workspace
