#include "repository/work_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "git/ref_name.h"
#include "os/file.h"
#include "os/scratch.h"
#include "repository/tree_changes.h"

namespace cleanroom::repository {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxIndexBytes = 1u << 30;
constexpr std::chrono::hours kArchiveTimeout{1};
constexpr uint64_t kTellEach = 500;  // files
constexpr size_t kMaxArgumentBytes = 64 << 10;
constexpr size_t kMaxPointerBytes = 1024;  // of a git-lfs pointer, by its specification
constexpr uint32_t kModeSubmodule = 0160000;
constexpr std::string_view kPointerStart = "version https://git-lfs.github.com/spec/";

std::string ParentOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string() : std::string(path.substr(0, slash));
}

Result<void> CheckPath(std::string_view path) {
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (IsGitName(part) || part == ".." || part == "." || part.empty())
      return Err(
          ErrorCode::kDataCorrupt,
          fmt::format("the commit has the path '{}', which git protects", path.substr(0, 200)));
    begin = end + 1;
  }
  return {};
}

}  // namespace

Result<void> WriteAttributes(const fs::path& git_dir) {
  constexpr std::string_view kAttributes = "* -export-ignore -export-subst -filter\n";
  const fs::path file = git_dir / "info" / "attributes";
  const Result<std::string> there = os::ReadFile(file, 1000);
  if (there && *there == kAttributes) return {};
  CR_TRY(os::MakeDirs(git_dir / "info"));
  return os::WriteFileAtomic(file, kAttributes);
}

HashAlgorithm WorkTreeBuilder::Algorithm() const {
  return plan_.git_folder.object_format == "sha256" ? HashAlgorithm::kSha256 : HashAlgorithm::kSha1;
}

Result<GitIndex> WorkTreeBuilder::MakeIndex(const fs::path& folder) const {
  const fs::path file = folder / "made-index";
  CR_TRY(mirror_.git().Local({.args = {"read-tree", "--end-of-options", plan_.git_folder.commit},
                              .git_dir = mirror_.path(),
                              .environment = {"GIT_INDEX_FILE=" + file.string()},
                              .config = {"index.version=2", "core.splitIndex=false",
                                         "core.untrackedCache=false", "index.sparse=false"},
                              .timeout = kArchiveTimeout},
                             control_));
  CR_TRY_ASSIGN(std::string bytes, os::ReadFile(file, kMaxIndexBytes));
  std::error_code ignored;
  fs::remove(file, ignored);
  CR_TRY_ASSIGN(GitIndex index,
                GitIndex::Parse(std::move(bytes), Algorithm(), plan_.limits.max_files));
  for (const GitIndex::Entry& entry : index.entries()) CR_TRY(CheckPath(entry.path));
  return index;
}

Result<int64_t> WorkTreeBuilder::CommitTime() const {
  CR_TRY_ASSIGN(const std::string text,
                mirror_.git().Local({.args = {"log", "-1", "--no-show-signature", "--format=%ct",
                                              "--end-of-options", plan_.git_folder.commit},
                                     .git_dir = mirror_.path()},
                                    control_));
  int64_t time = 0;
  std::from_chars(text.data(), text.data() + text.size(), time);
  // An index has 32 bits for it.
  return std::clamp<int64_t>(time, 1, int64_t{UINT32_MAX} - 2 * kIndexLater);
}

Result<void> WorkTreeBuilder::AddArchive(LayerFile& layer, const std::vector<std::string>& paths) {
  git::Command command{
      // The commit is a full id, never an option.
      .args = {"archive", "--format=tar", "--prefix=" + plan_.prefix, plan_.git_folder.commit},
      .git_dir = mirror_.path(),
      .environment = {"GIT_LITERAL_PATHSPECS=1"},
      .config = {"tar.umask=0022"},
      .timeout = kArchiveTimeout};
  if (!paths.empty()) command.args.emplace_back("--");
  command.args.insert(command.args.end(), paths.begin(), paths.end());
  CR_TRY_ASSIGN(const std::unique_ptr<archive::ByteSource> tar,
                mirror_.git().LocalStream(command, control_));
  return layer.AddTar(
      *tar,
      [this](const archive::TarEntry& entry, LayerFile::NodeId node, std::string_view head) {
        const bool link = entry.type == archive::EntryType::kSymlink;
        const uint64_t size = link ? entry.target.size() : entry.size;
        std::string path = entry.path.substr(std::min(plan_.prefix.size(), entry.path.size()));
        counts_.bytes += size;
        if (!link && size <= kMaxPointerBytes && head.starts_with(kPointerStart))
          pointers_.insert(path);
        found_[std::move(path)] = {node, size};
        if (plan_.progress && found_.size() % kTellEach == 0)
          plan_.progress(found_.size(), counts_.bytes);
      },
      control_.stop);
}

Result<void> WorkTreeBuilder::AddFiles(LayerFile& layer) {
  CR_TRY(WriteAttributes(mirror_.path()));
  if (!IsDelta()) return AddArchive(layer, {});
  std::vector<std::string> part;
  size_t bytes = 0;
  for (const std::string& path : plan_.changed) {
    part.push_back(path);
    bytes += path.size() + 1;
    if (bytes < kMaxArgumentBytes) continue;
    CR_TRY(AddArchive(layer, part));
    part.clear();
    bytes = 0;
  }
  return part.empty() ? Result<void>() : AddArchive(layer, part);
}

Result<void> WorkTreeBuilder::AddWhiteouts(LayerFile& layer) const {
  if (plan_.removed.empty()) return {};
  std::set<std::string, std::less<>> folders, files;
  for (const GitIndex::Entry& entry : index_->entries()) {
    // A submodule is a folder, through which that of the layer below would be seen.
    (entry.mode == kModeSubmodule ? folders : files).emplace(entry.path);
    for (std::string at = ParentOf(entry.path); !at.empty() && folders.insert(at).second;)
      at = ParentOf(at);
  }
  std::set<std::string> hidden;
  for (const std::string& path : plan_.removed) {
    if (folders.contains(path)) continue;  // a folder of this layer hides it
    // The uppermost folder that is gone: git keeps no empty ones.
    std::string top = path;
    bool covered = false;
    for (std::string at = ParentOf(path); !at.empty(); at = ParentOf(at)) {
      if (files.contains(at)) covered = true;  // a file of this layer hides it
      if (!folders.contains(at)) top = at;
    }
    if (!covered) hidden.insert(top);
  }
  for (const std::string& path : hidden) CR_TRY(layer.AddWhiteout(path));
  return {};
}

Result<void> WorkTreeBuilder::AddGitFolder(LayerFile& layer) const {
  const GitFolder& of = plan_.git_folder;
  const std::string& git_dir = plan_.git_dir;
  for (const char* folder : {"", "/hooks", "/info", "/objects/info", "/objects/pack", "/refs/heads",
                             "/refs/tags", "/refs/remotes/origin"})
    CR_TRY(layer.AddFolder(git_dir + folder));
  CR_TRY(layer.AddFile(git_dir + "/HEAD", HeadText(of)));
  CR_TRY(layer.AddFile(git_dir + "/config", ConfigText(of, plan_.refs)));
  CR_TRY(layer.AddFile(git_dir + "/packed-refs", PackedRefsText(of, plan_.refs)));
  CR_TRY(layer.AddFile(git_dir + "/info/exclude", ""));
  const std::string remote_head = git_dir + "/refs/remotes/origin/HEAD";
  const bool has_default =
      !of.default_branch.empty() && std::ranges::find(plan_.refs, "refs/heads/" + of.default_branch,
                                                      &git::Ref::name) != plan_.refs.end();
  if (has_default) {
    CR_TRY(layer.AddFile(remote_head,
                         fmt::format("ref: refs/remotes/origin/{}\n", of.default_branch)));
  } else if (IsDelta()) {
    CR_TRY(layer.AddWhiteout(remote_head));
  }
  for (const std::string& name : plan_.pack_files)
    CR_TRY(layer.CopyFile(git_dir + "/objects/pack/" + name, plan_.packs / name, 0444));
  return {};
}

// Answers the newest time among the files.
Result<int64_t> WorkTreeBuilder::SetStats(const std::vector<uint32_t>& numbers, int64_t mtime) {
  GitIndex& index = *index_;
  std::unordered_map<std::string_view, FileStat> below;
  std::optional<GitIndex> base;
  if (IsDelta()) {
    CR_TRY_ASSIGN(std::string bytes, os::ReadFile(plan_.base / kIndexBeside, kMaxIndexBytes));
    CR_TRY_ASSIGN(base, GitIndex::Parse(std::move(bytes), Algorithm(), plan_.limits.max_files));
    for (const GitIndex::Entry& entry : base->entries()) below[entry.path] = base->Stat(entry);
  }
  int64_t newest = mtime;
  for (const GitIndex::Entry& entry : index.entries()) {
    if (entry.mode == kModeSubmodule) continue;  // a submodule: git looks at nothing but its folder
    ++counts_.files;
    if (const auto here = found_.find(std::string(entry.path)); here != found_.end()) {
      index.SetStat(entry,
                    {static_cast<uint32_t>(mtime), numbers[here->second.node], plan_.owner.uid,
                     plan_.owner.gid, static_cast<uint32_t>(here->second.size)});
      continue;
    }
    const auto under = below.find(entry.path);
    if (under == below.end()) {
      return Err(ErrorCode::kInternal,
                 fmt::format("git's archive has no '{}'", entry.path.substr(0, 200)));
    }
    index.SetStat(entry, under->second);
    counts_.bytes += under->second.size;
    newest = std::max<int64_t>(newest, under->second.mtime);
  }
  return newest;
}

Result<void> WorkTreeBuilder::ReadPointersBelow() {
  if (!IsDelta()) return {};
  CR_TRY_ASSIGN(const std::string all, os::ReadFile(plan_.base / kPointersBeside, kMaxIndexBytes));
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = std::min(all.find('\0', begin), all.size());
    pointers_.insert(all.substr(begin, end - begin));
    begin = end + 1;
  }
  for (const std::string& path : plan_.changed) pointers_.erase(path);
  for (const std::string& path : plan_.removed) pointers_.erase(path);
  return {};
}

Result<void> WorkTreeBuilder::WriteBeside(const fs::path& folder, const std::string& index) const {
  if (IsDelta()) return {};  // there is never a delta over a delta
  std::string pointers;
  for (const std::string& path : pointers_) pointers.append(path).push_back('\0');
  CR_TRY(os::WriteFileAtomic(folder / kIndexBeside, index));
  return os::WriteFileAtomic(folder / kPointersBeside, pointers);
}

Result<void> WorkTreeBuilder::Begin(const fs::path& folder) {
  // First, for git checks all paths here.
  CR_TRY_ASSIGN(index_, MakeIndex(folder));
  CR_TRY_ASSIGN(commit_time_, CommitTime());
  return ReadPointersBelow();
}

Result<void> WorkTreeBuilder::AddTo(LayerFile& layer) {
  CR_TRY(AddFiles(layer));
  CR_TRY(AddWhiteouts(layer));
  CR_TRY(AddGitFolder(layer));
  CR_TRY_ASSIGN(index_node_, layer.Reserve(plan_.git_dir + "/index"));
  return {};
}

Result<WorkTreeBuilder::Completed> WorkTreeBuilder::Complete(LayerFile& layer,
                                                             const std::vector<uint32_t>& numbers,
                                                             int64_t mtime) {
  Completed out{.index = {}, .node = index_node_, .newest = 0};
  CR_TRY_ASSIGN(out.newest, SetStats(numbers, mtime));
  CR_TRY_ASSIGN(out.index, index_->Finish());
  CR_TRY(layer.Fill(index_node_, out.index));
  counts_.lfs_pointers = pointers_.size();
  return out;
}

Result<WorkTreeCounts> WorkTreeBuilder::Build(const fs::path& folder) {
  CR_TRY(Begin(folder));
  CR_TRY_ASSIGN(LayerFile layer, LayerFile::Create(folder / "layer.ext4", plan_.limits));
  CR_TRY(AddTo(layer));
  CR_TRY_ASSIGN(const Completed done, Complete(layer, layer.Numbers(), commit_time_));
  CR_TRY(layer.Finish({.owner = plan_.owner,
                       .mtime = commit_time_,
                       .later = {done.node},
                       .later_mtime = done.newest + kIndexLater},
                      plan_.identity));
  CR_TRY(WriteBeside(folder, done.index));
  return counts_;
}

Result<Difference> Compare(const git::Mirror& mirror, const std::string& from,
                           const std::string& to, uint64_t most, const git::Control& control) {
  CR_TRY_ASSIGN(const std::string text,
                mirror.git().Local({.args = {"diff-tree", "-r", "--raw", "-z", "--no-renames",
                                             "--end-of-options", from, to},
                                    .git_dir = mirror.path(),
                                    .max_output = most * 400},
                                   control));
  CR_TRY_ASSIGN(std::vector<TreeChange> changes, ParseTreeChanges(text, most));
  Difference out;
  for (TreeChange& one : changes) {
    out.attributes |= one.path == ".gitattributes" || one.path.ends_with("/.gitattributes");
    (one.deleted ? out.removed : out.changed).push_back(std::move(one.path));
  }
  return out;
}

}  // namespace cleanroom::repository
