#include "workspace/copy_plan.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <unordered_set>
#include <utility>

#include "base/printable.h"
#include "workspace/local_state.h"
#include "workspace/tree_path.h"

namespace cleanroom::workspace {
namespace {

constexpr size_t kMaxFolderEntries = 20'000;  // of a folder that is in the way

std::string_view WarningFor(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  if (name == ".gitmodules") return "it says where git fetches submodules from";
  if (name == ".gitattributes") return "it says which of your git's filters run on which files";
  if (name == ".gitignore" || name == ".cleanroomignore")
    return "it says which files travel the next time";
  if (name == "cleanroom.yaml") return "it is the policy of the sandboxes that you make next";
  return "";
}

class Planner {
 public:
  Planner(const LocalState& local, const Incoming& incoming, Force force)
      : local_(local), incoming_(incoming), force_(force) {}

  // Deletions first: what they take away is not in the way of what is written.
  Result<std::vector<PlannedPath>> Plan() {
    for (const std::string& path : incoming_.deleted) {
      PlannedPath planned = Begin(path);
      DecideDeletion(planned);
      if (planned.action == Action::kDelete) deleted_.insert(path);
      paths_.push_back(std::move(planned));
    }
    for (const IncomingFile& file : incoming_.files) {
      PlannedPath planned = Begin(file.path);
      planned.file = &file;
      CR_TRY(DecideFile(planned));
      paths_.push_back(std::move(planned));
    }
    std::ranges::sort(paths_, {}, &PlannedPath::path);
    for (const RefusedPath& refused : incoming_.refused)
      paths_.push_back({.path = refused.path, .action = Action::kSkip, .reason = refused.reason});
    return std::move(paths_);
  }

 private:
  PlannedPath Begin(const std::string& path) {
    return {.path = path, .warning = std::string(WarningFor(path)), .seen = local_.SeenAt(path)};
  }

  static void Set(PlannedPath& planned, Action action, std::string_view reason) {
    planned.action = action;
    planned.reason = reason;
    if (action != Action::kWrite && action != Action::kDelete) planned.warning.clear();
  }

  // A conflict that force decides for the sandbox.
  void SetContested(PlannedPath& planned, Action forced, std::string_view reason) {
    if (force_ == Force::kYes) {
      Set(planned, forced, fmt::format("forced: {}", reason));
    } else {
      Set(planned, Action::kConflict, reason);
    }
  }

  void DecideDeletion(PlannedPath& planned) {
    const std::string& path = planned.path;
    if (const auto why = local_.WhyNotTravelling(path)) return Set(planned, Action::kSkip, *why);
    const auto base = local_.BaselineAt(path);
    if (!base) return Set(planned, Action::kSkip, "the sandbox did not begin with it");
    switch (planned.seen.kind) {
      case Look::Kind::kMissing:
      case Look::Kind::kBehindFile:
        return Set(planned, Action::kNothing, "it is deleted here too");
      case Look::Kind::kFile:
      case Look::Kind::kLink:
        break;
      default:
        return SetObstacle(planned);
    }
    if (local_.At(path) == base) return Set(planned, Action::kDelete, "deleted in the sandbox");
    SetContested(planned, Action::kDelete, "deleted in the sandbox, changed here");
  }

  Result<void> DecideFile(PlannedPath& planned) {
    const IncomingFile& file = *planned.file;
    if (const auto why = local_.WhyNotTravelling(file.path)) {
      Set(planned, Action::kSkip, *why);
      return {};
    }
    const auto base = local_.BaselineAt(file.path);
    if (base == FileState{file.mode, file.id}) {
      Set(planned, Action::kNothing, "the sandbox did not change it");
      return {};
    }
    const std::string_view what = base ? "changed in the sandbox" : "new in the sandbox";
    switch (planned.seen.kind) {
      case Look::Kind::kFile:
      case Look::Kind::kLink:
        return DecideOverwrite(planned, what);
      case Look::Kind::kMissing:
        if (base) {
          SetContested(planned, Action::kWrite, "changed in the sandbox, deleted here");
        } else {
          Set(planned, Action::kWrite, what);
        }
        return {};
      case Look::Kind::kBehindFile:
        if (IsWayFreed(file.path)) {
          Set(planned, Action::kWrite, what);
        } else {
          SetObstacle(planned);
        }
        return {};
      case Look::Kind::kFolder: {
        CR_TRY_ASSIGN(const bool freed, IsFolderFreed(file.path));
        if (freed) {
          Set(planned, Action::kWrite, what);
        } else {
          SetObstacle(planned);
        }
        return {};
      }
      default:
        SetObstacle(planned);
        return {};
    }
  }

  Result<void> DecideOverwrite(PlannedPath& planned, std::string_view what) {
    CR_TRY_ASSIGN(const bool same, local_.HasContentsOf(*planned.file));
    const auto base = local_.BaselineAt(planned.path);
    if (same) {
      Set(planned, Action::kNothing, "it is the same here");
    } else if (base && local_.At(planned.path) == base) {
      Set(planned, Action::kWrite, what);
    } else if (base) {
      SetContested(planned, Action::kWrite, "changed in the sandbox and here");
    } else {
      SetContested(planned, Action::kWrite, "new in the sandbox, and a file of yours is there");
    }
    return {};
  }

  static void SetObstacle(PlannedPath& planned) {
    const std::string_view reason = [&planned]() -> std::string_view {
      switch (planned.seen.kind) {
        case Look::Kind::kFolder:
          return "a folder is in the way";
        case Look::Kind::kBehindLink:
          return "a folder on the way is a symbolic link";
        case Look::Kind::kBehindFile:
          return "a file is where a folder would have to be";
        case Look::Kind::kElsewhere:
          return "it is on another file system";
        default:
          return "something that is no file is in the way";
      }
    }();
    Set(planned, Action::kConflict, reason);
  }

  // The file on the way to `path` is one that goes.
  bool IsWayFreed(const std::string& path) const {
    for (std::string at(ParentOf(path)); !at.empty(); at = std::string(ParentOf(at))) {
      if (deleted_.contains(at)) return true;
    }
    return false;
  }

  // All that the folder holds goes, and so will the folder.
  Result<bool> IsFolderFreed(const std::string& folder) const {
    std::vector<std::string> open = {folder};
    size_t entries = 0;
    while (!open.empty()) {
      const std::string at = std::move(open.back());
      open.pop_back();
      CR_TRY_ASSIGN(const auto fd, OpenFolderBeneath(local_.top(), at, Missing::kFail));
      const int readable = openat(fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      const std::unique_ptr<DIR, int (*)(DIR*)> names(readable < 0 ? nullptr : fdopendir(readable),
                                                      &closedir);
      if (!names) return false;
      const size_t before = entries;
      while (const dirent* entry = readdir(names.get())) {
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") continue;
        if (++entries > kMaxFolderEntries) return false;
        const std::string path = fmt::format("{}/{}", at, name);
        if (deleted_.contains(path)) continue;
        CR_TRY_ASSIGN(const Look look, LookBeneath(local_.top(), path));
        if (look.kind != Look::Kind::kFolder) return false;
        open.push_back(path);
      }
      if (entries == before) return false;  // nothing would take the empty folder away
    }
    return true;
  }

  const LocalState& local_;
  const Incoming& incoming_;
  Force force_;
  std::unordered_set<std::string> deleted_;
  std::vector<PlannedPath> paths_;
};

}  // namespace

std::string_view ToString(Action action) {
  switch (action) {
    case Action::kWrite:
      return "write";
    case Action::kDelete:
      return "delete";
    case Action::kNothing:
      return "nothing";
    case Action::kSkip:
      return "skip";
    case Action::kConflict:
      return "conflict";
  }
  return "";
}

size_t CopyPlan::CountOf(Action action) const {
  return static_cast<size_t>(std::ranges::count(paths, action, &PlannedPath::action));
}

Result<CopyPlan> PlanCopyOut(const Repository& repository, const Baseline& baseline,
                             const Incoming& incoming, Force force) {
  if (repository.commit != baseline.commit && force == Force::kNo) {
    return Err(
        Error(ErrorCode::kFailedPrecondition,
              fmt::format("{} is at commit {}, and the sandbox began with {}", repository.top,
                          repository.commit.substr(0, 12), baseline.commit.substr(0, 12)))
            .About(SubjectKind::kFile, repository.top)
            .Remedy("Check that commit out, or pass --force to compare file by file with it"));
  }
  CR_TRY_ASSIGN(const LocalState local,
                LocalState::Read(repository, baseline.commit, baseline.manifest, incoming));
  CR_TRY_ASSIGN(auto paths, Planner(local, incoming, force).Plan());
  return CopyPlan{.top = repository.top, .paths = std::move(paths)};
}

}  // namespace cleanroom::workspace
