#include "workspace/copy_apply.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <unordered_map>
#include <utility>

#include "archive/tar_reader.h"
#include "base/printable.h"
#include "base/sha256/sha256.h"
#include "os/file.h"
#include "os/scratch.h"
#include "workspace/index_entries.h"
#include "workspace/tree_path.h"
#include "workspace/unpack_file.h"

namespace cleanroom::workspace {
namespace {

constexpr size_t kShownConflicts = 20;
constexpr uint64_t kSpareBytes = 64ull << 20;  // that the user's disk keeps

std::string NameOf(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

std::unexpected<Error> WriteFailure(std::string_view path) {
  const int error = errno;
  const std::string shown = EscapeUnprintable(path);
  return Err(
      Error::FromErrno(os::CodeForErrno(error), error, shown).About(SubjectKind::kFile, shown));
}

Result<void> CheckConflicts(const CopyPlan& plan) {
  const size_t count = plan.CountOf(Action::kConflict);
  if (count == 0) return {};
  std::vector<std::string> shown;
  for (const PlannedPath& planned : plan.paths) {
    if (planned.action == Action::kConflict && shown.size() < kShownConflicts)
      shown.push_back(fmt::format("{} ({})", EscapeUnprintable(planned.path), planned.reason));
  }
  return Err(Error(ErrorCode::kFailedPrecondition,
                   fmt::format("{} conflicts, and nothing was written: {}{}", count,
                               fmt::join(shown, ", "), count > shown.size() ? ", …" : ""))
                 .About(SubjectKind::kFile, plan.top)
                 .Remedy("Commit or move your own changes, or pass --force to overwrite files"));
}

class Copy {
 public:
  Copy(const CopyPlan& plan, os::UniqueFd top, os::TempDir staging)
      : plan_(plan), top_(std::move(top)), staging_(std::move(staging)) {
    for (const PlannedPath& planned : plan_.paths) {
      if (planned.action != Action::kWrite) continue;
      writes_.emplace(planned.path, Write{&planned, fmt::format("f{}", writes_.size())});
    }
  }

  Result<void> CheckRoom() const {
    struct statvfs room = {};
    if (statvfs(plan_.top.c_str(), &room) != 0) return WriteFailure(plan_.top);
    uint64_t wanted = kSpareBytes;
    for (const PlannedPath& planned : plan_.paths) {
      if (planned.action == Action::kWrite) wanted += planned.file->size;
    }
    if (wanted <= uint64_t{room.f_bavail} * room.f_frsize) return {};
    return Err(
        Error(ErrorCode::kResourceExhausted,
              fmt::format("{} bytes are to be written to {}, and its disk has not as much room",
                          wanted, plan_.top))
            .About(SubjectKind::kFile, plan_.top)
            .Remedy("Free some room on that disk"));
  }

  Result<void> Unpack(int tar_fd) {
    CR_TRY_ASSIGN(staging_fd_, os::OpenDir(staging_.path()));
    CR_TRY(os::ReplaceFile(staging_.path() + "/.gitignore", "*\n"));
    const auto unpack = [this](archive::TarReader& tar,
                               const archive::TarEntry& entry) -> Result<bool> {
      const auto wanted = writes_.find(std::string(PlainEntryPath(entry.path)));
      if (wanted == writes_.end()) return false;
      const Write& write = wanted->second;
      CR_TRY(UnpackFile(tar, entry, *write.planned->file, staging_fd_.get(), write.staged));
      return true;
    };
    return UnpackEach(tar_fd, writes_.size(), unpack);
  }

  // The last moment at which nothing of the user's has been touched.
  Result<void> LookAgain() const {
    for (const PlannedPath& planned : plan_.paths) {
      if (planned.action != Action::kWrite && planned.action != Action::kDelete) continue;
      CR_TRY_ASSIGN(const Look now, LookBeneath(top_.get(), planned.path));
      const bool same =
          now == planned.seen || (now.kind == planned.seen.kind && now.kind == Look::Kind::kFolder);
      if (same) continue;
      const std::string shown = EscapeUnprintable(planned.path);
      return Err(Error(ErrorCode::kFailedPrecondition,
                       fmt::format("{} has changed meanwhile, and nothing was written", shown))
                     .About(SubjectKind::kFile, shown)
                     .Remedy("Run it again"));
    }
    return {};
  }

  Result<Copied> Replace() {
    Result<void> done = DeleteAll();
    if (done) done = WriteAll();
    if (done) return copied_;
    return Err(std::move(done).error().Context(fmt::format(
        "{} files were written and {} deleted, then", copied_.written, copied_.deleted)));
  }

 private:
  struct Write {
    const PlannedPath* planned;
    std::string staged;  // its name in the staging folder
  };

  Result<void> DeleteAll() {
    for (const PlannedPath& planned : plan_.paths) {
      if (planned.action != Action::kDelete) continue;
      CR_TRY_ASSIGN(
          const auto folder,
          OpenFolderBeneath(top_.get(), std::string(ParentOf(planned.path)), Missing::kFail));
      if (unlinkat(folder.get(), NameOf(planned.path).c_str(), 0) != 0)
        return WriteFailure(planned.path);
      ++copied_.deleted;
      CR_TRY(RemoveEmptied(std::string(ParentOf(planned.path))));
    }
    return {};
  }

  Result<void> RemoveEmptied(std::string folder) {
    while (!folder.empty()) {
      const std::string parent(ParentOf(folder));
      CR_TRY_ASSIGN(const auto above, OpenFolderBeneath(top_.get(), parent, Missing::kFail));
      if (unlinkat(above.get(), NameOf(folder).c_str(), AT_REMOVEDIR) != 0) return {};
      folder = parent;
    }
    return {};
  }

  Result<void> WriteAll() {
    for (const auto& planned : plan_.paths) {
      if (planned.action != Action::kWrite) continue;
      CR_TRY_ASSIGN(
          const auto folder,
          OpenFolderBeneath(top_.get(), std::string(ParentOf(planned.path)), Missing::kMake));
      // What was not there when it was planned is not overwritten now either.
      const bool replaces =
          planned.seen.kind == Look::Kind::kFile || planned.seen.kind == Look::Kind::kLink;
      if (renameat2(staging_fd_.get(), writes_.at(planned.path).staged.c_str(), folder.get(),
                    NameOf(planned.path).c_str(), replaces ? 0 : RENAME_NOREPLACE) != 0)
        return WriteFailure(planned.path);
      ++copied_.written;
    }
    return {};
  }

  const CopyPlan& plan_;
  os::UniqueFd top_, staging_fd_;
  os::TempDir staging_;
  std::unordered_map<std::string, Write> writes_;  // by path
  Copied copied_;
};

}  // namespace

Result<Copied> ApplyCopyOut(const CopyPlan& plan, int tar) {
  CR_TRY(CheckConflicts(plan));
  if (plan.CountOf(Action::kWrite) + plan.CountOf(Action::kDelete) == 0) return Copied{};
  CR_TRY_ASSIGN(auto top, os::OpenDir(plan.top));
  CR_TRY_ASSIGN(auto staging, os::TempDir::Create(plan.top));
  Copy copy(plan, std::move(top), std::move(staging));
  CR_TRY(copy.CheckRoom());
  CR_TRY(copy.Unpack(tar));
  CR_TRY(copy.LookAgain());
  return copy.Replace();
}

}  // namespace cleanroom::workspace
