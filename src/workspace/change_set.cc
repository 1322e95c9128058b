#include "workspace/change_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "base/printable.h"
#include "base/sha256/sha256.h"

namespace cleanroom::workspace {
namespace {

// Reads what `git cat-file --batch` prints: "ID TYPE SIZE\n", contents, "\n" for each object.
class BatchReader {
 public:
  explicit BatchReader(std::unordered_map<std::string, std::string>& sha256_of)
      : sha256_of_(sha256_of) {}

  Result<void> Add(std::string_view data) {
    while (!data.empty()) {
      if (!in_contents_) {
        const size_t end = data.find('\n');
        header_.append(data.substr(0, end));
        data.remove_prefix(std::min(end, data.size() - 1) + 1);
        if (end != std::string_view::npos) CR_TRY(Begin());
        continue;
      }
      const size_t size = std::min<uint64_t>(left_, data.size());
      hash_.Add(data.substr(0, size));
      left_ -= size;
      data.remove_prefix(size);
      if (left_ > 0 || data.empty()) continue;
      data.remove_prefix(1);  // the newline
      sha256_of_[id_] = hash_.Finish();
      in_contents_ = false;
    }
    return {};
  }

 private:
  Result<void> Begin() {
    const size_t first = header_.find(' '), last = header_.rfind(' ');
    if (header_.empty() || first == std::string::npos || first == last) {
      return Err(ErrorCode::kDataCorrupt,
                 fmt::format("git has lost an object: {}", EscapeUnprintable(header_)));
    }
    id_ = header_.substr(0, first);
    const char* end = header_.data() + header_.size();
    if (std::from_chars(header_.data() + last + 1, end, left_).ptr != end)
      return Err(ErrorCode::kInternal, "git prints objects in a form that is not known");
    header_.clear();
    hash_ = Sha256();
    in_contents_ = true;
    return {};
  }

  std::unordered_map<std::string, std::string>& sha256_of_;
  std::string header_, id_;
  uint64_t left_ = 0;
  bool in_contents_ = false;
  Sha256 hash_;
};

Result<void> FillDigests(const Git& git, GitCall call, std::vector<ChangedFile>& files) {
  std::unordered_map<std::string, std::string> sha256_of;
  for (const ChangedFile& file : files) {
    if (!file.deleted && sha256_of.emplace(file.id, "").second) call.input += file.id + "\n";
  }
  if (call.input.empty()) return {};
  BatchReader reader(sha256_of);
  CR_TRY(git.Stream(
      {"cat-file", "--batch"}, [&reader](std::string_view data) { return reader.Add(data); },
      call));
  for (ChangedFile& file : files) {
    if (!file.deleted) file.sha256 = sha256_of[file.id];
  }
  return {};
}

Result<std::string> MakePatch(const Git& git, const Snapshot& snapshot, const std::string& base,
                              uint64_t max_bytes) {
  const std::string file = snapshot.scratch() + "/patch";
  const Result<void> made = git.ReadInto(
      file, max_bytes, "the patch of the local changes",
      {"diff-tree", "-r", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff",
       "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/", base, snapshot.tree()},
      snapshot.call());
  if (!made) {
    return Err(
        Error(made.error())
            .Remedy("Commit and push what is large, or name it in .gitignore or .cleanroomignore"));
  }
  return os::ReadFile(file, max_bytes);
}

Result<ChangeSet> ListChanges(const Repository& repository, const Snapshot& snapshot) {
  const Git& git = *repository.git;
  ChangeSet out;
  out.base_commit = repository.commit;
  out.tree = snapshot.tree();
  out.left_out = snapshot.left_out();
  CR_TRY_ASSIGN(const auto changes, ReadChanges(git,
                                                {"diff-tree", "-r", "-z", "--raw", "--no-renames",
                                                 "--full-index", repository.commit, out.tree},
                                                snapshot.call()));
  for (const TreeChange& change : changes) {
    if (change.mode == kModeSubmodule || change.old_mode == kModeSubmodule) {
      return Err(
          Error(ErrorCode::kFailedPrecondition,
                fmt::format("the submodule {} is added, removed or at another commit: changes "
                            "of submodules do not travel",
                            EscapeUnprintable(change.path)))
              .About(SubjectKind::kFile, repository.top + "/" + change.path)
              .Remedy("Commit the change first"));
    }
    out.files.push_back({.path = change.path,
                         .mode = change.mode,
                         .id = change.id,
                         .sha256 = {},
                         .deleted = change.id.empty()});
  }
  return out;
}

}  // namespace

Result<ChangeSet> ListLocalChanges(const Repository& repository, const ChangeSetLimits& limits) {
  CR_TRY_ASSIGN(const Snapshot snapshot, Snapshot::Take(repository, limits.snapshot));
  return ListChanges(repository, snapshot);
}

Result<ChangeSet> TakeLocalChanges(const Repository& repository, const ChangeSetLimits& limits) {
  const Git& git = *repository.git;
  CR_TRY_ASSIGN(const Snapshot snapshot, Snapshot::Take(repository, limits.snapshot));
  CR_TRY_ASSIGN(ChangeSet out, ListChanges(repository, snapshot));
  CR_TRY(FillDigests(git, snapshot.call(), out.files));
  if (!out.empty()) {
    CR_TRY_ASSIGN(out.patch, MakePatch(git, snapshot, repository.commit, limits.max_patch_bytes));
  }
  out.digest = Sha256Hex(out.patch);
  return out;
}

}  // namespace cleanroom::workspace
