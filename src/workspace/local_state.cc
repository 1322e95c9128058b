#include "workspace/local_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/sha256/sha256.h"
#include "os/file.h"
#include "os/scratch.h"
#include "workspace/blob_hash.h"
#include "workspace/git.h"
#include "workspace/index_entries.h"
#include "workspace/kept_back.h"
#include "workspace/tree_path.h"

namespace cleanroom::workspace {
namespace {

bool HasParentIn(const std::unordered_set<std::string>& folders, const std::string& path) {
  if (folders.empty()) return false;
  for (std::string at = path; !at.empty(); at = std::string(ParentOf(at))) {
    if (folders.contains(at)) return true;
  }
  return false;
}

std::string_view ModeOf(const Look& look) {
  if (look.kind == Look::Kind::kLink) return kModeLink;
  return (look.mode & 0100U) != 0 ? kModeProgram : kModeFile;
}

}  // namespace

std::optional<FileState> LocalState::Find(const States& states, const std::string& path) {
  const auto found = states.find(path);
  if (found == states.end()) return std::nullopt;
  return found->second;
}

Result<LocalState> LocalState::Read(const Repository& repository, const std::string& base_commit,
                                    const std::vector<ChangedFile>& manifest,
                                    const Incoming& incoming) {
  LocalState out;
  out.repository_ = &repository;
  CR_TRY_ASSIGN(out.top_, os::OpenDir(repository.top));
  CR_TRY(out.ReadBaseline(base_commit, manifest));
  std::vector<std::string> paths = incoming.deleted;
  for (const IncomingFile& file : incoming.files) paths.push_back(file.path);
  CR_TRY(out.LookAt(paths));
  CR_TRY(out.ReadRules(paths));
  CR_TRY(out.ReadFiles(paths));
  return out;
}

Result<void> LocalState::ReadBaseline(const std::string& commit,
                                      const std::vector<ChangedFile>& manifest) {
  auto tree = ReadTree(*repository_->git, commit);
  if (!tree) {
    return Err(Error(ErrorCode::kFailedPrecondition,
                     fmt::format("the repository at {} does not have commit {}, with which the "
                                 "sandbox began",
                                 repository_->top, commit))
                   .About(SubjectKind::kFile, repository_->top)
                   .Remedy("Fetch it, or run it in the repository that the sandbox was made from"));
  }
  for (auto& [path, file] : *tree)
    baseline_.emplace(path, FileState{std::move(file.mode), std::move(file.id)});
  for (const ChangedFile& file : manifest) {
    if (file.deleted) {
      baseline_.erase(file.path);
    } else {
      baseline_[file.path] = {file.mode, file.id};
    }
  }
  return {};
}

Result<void> LocalState::LookAt(const std::vector<std::string>& paths) {
  looks_.reserve(paths.size());
  for (const std::string& path : paths) {
    CR_TRY_ASSIGN(looks_[path], LookBeneath(top_.get(), path));
  }
  return {};
}

// git refuses to say whether a path in a submodule, or behind a link, is ignored; neither is
// written.
Result<void> LocalState::ReadRules(const std::vector<std::string>& paths) {
  CR_TRY_ASSIGN(const auto tracked, ReadIndex(*repository_->git));
  for (const TrackedFile& file : tracked) {
    if (file.mode == kModeSubmodule) submodules_.insert(file.path);
  }
  std::vector<std::string> asked;
  for (const std::string& path : paths) {
    const bool behind = looks_.at(path).kind == Look::Kind::kBehindLink;
    if (!behind && !HasParentIn(submodules_, path)) asked.push_back(path);
  }
  if (asked.empty()) return {};
  CR_TRY_ASSIGN(ignored_, Ignored(*repository_, asked));
  CR_TRY_ASSIGN(const auto scratch, os::TempDir::Create());
  CR_TRY_ASSIGN(kept_back_, KeptBack(*repository_, asked, scratch.path()));
  return {};
}

// Files through the filters that a commit would put them through; links as they are.
Result<void> LocalState::ReadFiles(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  GitCall call;
  for (const std::string& path : paths) {
    const Look& look = looks_.at(path);
    if (look.kind == Look::Kind::kLink) {
      CR_TRY_ASSIGN(const auto target, ReadLinkBeneath(top_.get(), path));
      files_[path] = {std::string(kModeLink), BlobIdOf(repository_->object_format, target)};
    } else if (look.kind == Look::Kind::kFile) {
      files.push_back(path);
      call.input.append(QuotePath(path)).push_back('\n');
    }
  }
  if (files.empty()) return {};
  CR_TRY_ASSIGN(const auto text, repository_->git->Read({"hash-object", "--stdin-paths"}, call));
  std::string_view rest = text;
  for (const std::string& path : files) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos)
      return Err(ErrorCode::kInternal, "git gave fewer ids than there are files");
    files_[path] = {std::string(ModeOf(looks_.at(path))), std::string(rest.substr(0, end))};
    rest.remove_prefix(end + 1);
  }
  return {};
}

std::optional<std::string_view> LocalState::WhyNotTravelling(const std::string& path) const {
  if (HasParentIn(submodules_, path)) return "it is a submodule's";
  if (ignored_.contains(path)) return "git ignores it";
  if (kept_back_.contains(path)) return "named in .cleanroomignore";
  return std::nullopt;
}

Result<bool> LocalState::HasContentsOf(const IncomingFile& file) const {
  const auto state = At(file.path);
  if (!state || state->mode != file.mode) return false;
  if (state->id == file.id) return true;
  const Look& look = looks_.at(file.path);
  if (look.kind != Look::Kind::kFile || look.size != file.size) return false;
  CR_TRY_ASSIGN(const auto fd, OpenFileBeneath(top_.get(), file.path));
  Sha256 hash;
  std::vector<uint8_t> buffer(size_t{256} << 10);
  while (true) {
    CR_TRY_ASSIGN(const size_t size, os::ReadSome(fd.get(), buffer));
    if (size == 0) break;
    hash.Add({reinterpret_cast<const char*>(buffer.data()), size});
  }
  return hash.Finish() == file.sha256;
}

}  // namespace cleanroom::workspace
