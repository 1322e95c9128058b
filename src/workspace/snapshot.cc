#include "workspace/snapshot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "base/printable.h"
#include "base/utf8.h"
#include "workspace/kept_back.h"
#include "workspace/submodules.h"

namespace cleanroom::workspace {
namespace {

namespace fs = std::filesystem;

Error NotTaken(ErrorCode code, std::string message, const std::string& path) {
  return Error(code, std::move(message)).About(SubjectKind::kFile, path);
}

Result<void> CheckMerged(const std::vector<TrackedFile>& tracked) {
  const auto open = std::ranges::find_if(tracked, [](const auto& file) { return file.stage != 0; });
  if (open == tracked.end()) return {};
  return Err(
      NotTaken(ErrorCode::kFailedPrecondition,
               fmt::format("{} is of a merge that is not finished", EscapeUnprintable(open->path)),
               open->path)
          .Remedy("Finish it and run: git add, or give it up with: git merge --abort"));
}

Result<void> CheckNames(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    if (ToValidUtf8(path) == path) continue;
    return Err(NotTaken(ErrorCode::kInvalidArgument,
                        fmt::format("the name of {} is not UTF-8, and cannot travel",
                                    EscapeUnprintable(path)),
                        EscapeUnprintable(path))
                   .Remedy("Rename it, or name it in .cleanroomignore"));
  }
  return {};
}

// Before git reads anything: a disk image in the work tree would be compressed for minutes first.
Result<void> CheckSizes(const std::string& top, const std::vector<std::string>& paths,
                        const SnapshotLimits& limits) {
  if (paths.size() > limits.max_files) {
    return Err(NotTaken(ErrorCode::kResourceExhausted,
                        fmt::format("{} files have changed or are new: more than {} do not travel",
                                    paths.size(), limits.max_files),
                        top)
                   .Remedy("Name what is not needed in .gitignore or .cleanroomignore"));
  }
  uint64_t total = 0, largest_size = 0;
  const std::string* largest = nullptr;
  for (const std::string& path : paths) {
    struct stat info = {};
    if (lstat(fmt::format("{}/{}", top, path).c_str(), &info) != 0) continue;
    if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode) && !S_ISDIR(info.st_mode)) {
      return Err(NotTaken(ErrorCode::kFailedPrecondition,
                          fmt::format("{} is tracked, and is a pipe, a socket or a device here: it "
                                      "cannot travel",
                                      EscapeUnprintable(path)),
                          path)
                     .Remedy("Put the file back, or delete it"));
    }
    if (!S_ISREG(info.st_mode)) continue;
    const auto size = static_cast<uint64_t>(info.st_size);
    total += size;
    if (largest != nullptr && size <= largest_size) continue;
    largest = &path;
    largest_size = size;
  }
  if (total <= limits.max_content_bytes) return {};
  return Err(
      NotTaken(
          ErrorCode::kResourceExhausted,
          fmt::format("the local changes have {} bytes, more than {}; the largest file is "
                      "{} with {}",
                      total, limits.max_content_bytes, EscapeUnprintable(*largest), largest_size),
          *largest)
          .Remedy("Name what is not needed in .gitignore or .cleanroomignore"));
}

// With its time: git takes a file that is as old as the index for one that may have changed unseen
// since, and a copy made later would have it trust that file.
Result<void> CopyIndex(const std::string& from, const std::string& to) {
  struct stat info = {};
  std::error_code error;
  const bool found = stat(from.c_str(), &info) == 0;
  if (!found || !fs::copy_file(from, to, error)) {
    return Err(Error::FromErrno(ErrorCode::kInternal, found ? error.value() : errno, from));
  }
  const std::array<timespec, 2> times = {info.st_mtim, info.st_mtim};
  if (utimensat(AT_FDCWD, to.c_str(), times.data(), 0) != 0)
    return ErrErrno(ErrorCode::kInternal, to);
  return {};
}

}  // namespace

Result<Snapshot> Snapshot::Take(const Repository& repository, const SnapshotLimits& limits) {
  const Git& git = *repository.git;
  CR_TRY_ASSIGN(auto scratch, os::TempDir::Create());
  Snapshot out(std::move(scratch));
  CR_TRY(out.PrepareIndex(repository));
  CR_TRY_ASSIGN(const auto tracked, ReadIndex(git, out.call_));
  CR_TRY(CheckMerged(tracked));
  CR_TRY(CheckSubmodulesUnchanged(repository, tracked));
  CR_TRY_ASSIGN(Paths paths, out.ListChanges(git));
  CR_TRY(out.AddUntracked(repository, limits, paths));
  CR_TRY(out.KeepBack(repository, tracked, paths));
  CR_TRY(CheckNames(paths.present));
  CR_TRY(CheckNames(paths.deleted));
  CR_TRY(CheckSizes(repository.top, paths.present, limits));
  CR_TRY(out.Record(git, paths));
  CR_TRY_ASSIGN(paths, out.Drifted(git));
  if (!paths.empty()) {
    CR_TRY(out.Record(git, paths));
    CR_TRY_ASSIGN(paths, out.Drifted(git));
  }
  if (!paths.empty()) {
    const std::string& path = paths.present.empty() ? paths.deleted[0] : paths.present[0];
    return Err(NotTaken(ErrorCode::kUnavailable,
                        fmt::format("{} changes while it is read", EscapeUnprintable(path)), path)
                   .Remedy("Stop what writes it, or name it in .gitignore or .cleanroomignore"));
  }
  // What a partial clone does not have is not changed either.
  CR_TRY_ASSIGN(out.tree_, git.ReadLine({"write-tree", "--missing-ok"}, out.call_));
  return out;
}

Result<void> Snapshot::PrepareIndex(const Repository& repository) {
  const Git& git = *repository.git;
  std::error_code error;
  const std::string objects = scratch_.path() + "/objects", index = scratch_.path() + "/index";
  fs::create_directory(objects, error);
  CR_TRY_ASSIGN(const auto theirs,
                git.ReadLine({"rev-parse", "--path-format=absolute", "--git-path", "objects"}));
  CR_TRY_ASSIGN(const auto from,
                git.ReadLine({"rev-parse", "--path-format=absolute", "--git-path", "index"}));
  call_.env = {"GIT_INDEX_FILE=" + index, "GIT_OBJECT_DIRECTORY=" + objects,
               "GIT_ALTERNATE_OBJECT_DIRECTORIES=" + QuotePath(theirs)};
  if (fs::exists(from, error)) return CopyIndex(from, index);
  CR_TRY(git.Read({"read-tree", "HEAD"}, call_));
  return {};
}

// What in the work tree is not as the (temporary) index has it.
Result<Snapshot::Paths> Snapshot::ListChanges(const Git& git) {
  CR_TRY_ASSIGN(const auto words,
                git.ReadNames({"diff-files", "--name-status", "-z", "--no-renames", "--no-ext-diff",
                               "--ignore-submodules=all"},
                              call_));
  Paths out;
  for (size_t i = 0; i + 1 < words.size(); i += 2)
    (words[i] == "D" ? out.deleted : out.present).push_back(words[i + 1]);
  return out;
}

Result<void> Snapshot::AddUntracked(const Repository& repository, const SnapshotLimits& limits,
                                    Paths& paths) {
  CR_TRY_ASSIGN(auto names, repository.git->ReadNames(
                                {"ls-files", "--others", "--exclude-standard", "-z"}, call_));
  for (std::string& name : names) {
    if (name.ends_with('/')) {
      left_out_.push_back({name, "a repository of its own that is no submodule"});
    } else {
      paths.present.push_back(std::move(name));
    }
  }
  if (left_out_.size() > limits.max_files)
    return Err(ErrorCode::kResourceExhausted, "the work tree has too many repositories in it");
  return {};
}

// Paths that are kept back are as HEAD has them, also where another state is staged.
Result<void> Snapshot::KeepBack(const Repository& repository,
                                const std::vector<TrackedFile>& tracked, Paths& paths) {
  const auto is_rule = [](const std::string& path) {
    return path == kKeptBackFile || path.ends_with("/.cleanroomignore");
  };
  std::error_code error;
  const bool any = fs::exists(repository.top + "/.cleanroomignore", error) ||
                   std::ranges::any_of(paths.present, is_rule) ||
                   std::ranges::any_of(tracked, is_rule, &TrackedFile::path);
  if (!any) return {};
  CR_TRY_ASSIGN(const auto staged, ReadChanges(*repository.git,
                                               {"diff-index", "--cached", "-z", "--raw",
                                                "--no-renames", "--full-index", repository.commit},
                                               call_));
  std::vector<std::string> all = paths.present;
  all.insert(all.end(), paths.deleted.begin(), paths.deleted.end());
  for (const TreeChange& change : staged) all.push_back(change.path);
  CR_TRY_ASSIGN(kept_back_, KeptBack(repository, all, scratch_.path()));

  std::vector<std::string> kept(kept_back_.begin(), kept_back_.end());
  std::ranges::sort(kept);
  for (std::string& path : kept)
    left_out_.push_back({std::move(path), "named in .cleanroomignore"});
  const auto is_kept = [this](const std::string& path) { return kept_back_.contains(path); };
  std::erase_if(paths.present, is_kept);
  std::erase_if(paths.deleted, is_kept);

  GitCall call = call_;
  for (const TreeChange& change : staged) {
    if (!is_kept(change.path)) continue;
    call.input += change.old_id.empty() ? "0 " + std::string(change.id.size(), '0')
                                        : change.old_mode + " " + change.old_id;
    call.input += "\t" + change.path;
    call.input.push_back('\0');
  }
  if (!call.input.empty())
    CR_TRY(repository.git->Read({"update-index", "-z", "--index-info"}, call));
  return {};
}

// Deletions first: a folder may be where a file was.
Result<void> Snapshot::Record(const Git& git, const Paths& paths) {
  GitCall call = call_;
  if (!paths.deleted.empty()) {
    call.input = JoinNames(paths.deleted);
    CR_TRY(git.Read({"update-index", "-z", "--force-remove", "--stdin"}, call));
  }
  if (!paths.present.empty()) {
    call.input = JoinNames(paths.present);
    CR_TRY(git.Read({"update-index", "-z", "--add", "--remove", "--replace", "--stdin"}, call));
  }
  return {};
}

// git has noted what each file was like before it read it, so a file that changed since shows.
Result<Snapshot::Paths> Snapshot::Drifted(const Git& git) {
  CR_TRY_ASSIGN(Paths out, ListChanges(git));
  const auto is_kept = [this](const std::string& path) { return kept_back_.contains(path); };
  std::erase_if(out.present, is_kept);
  std::erase_if(out.deleted, is_kept);
  return out;
}

}  // namespace cleanroom::workspace
