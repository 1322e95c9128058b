#include "git/mirror_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>

#include "base/sha256/sha256.h"
#include "git/mirror_files.h"

namespace cleanroom::git {
namespace fs = std::filesystem;
namespace {

// Whoever holds the lock may be fetching a large repository.
constexpr std::chrono::minutes kLockLimit{90};
constexpr size_t kManyPacks = 20;

size_t CountPacks(const fs::path& mirror) {
  size_t packs = 0;
  std::error_code error;
  for (fs::directory_iterator it(mirror / "objects" / "pack", error), end; !error && it != end;
       it.increment(error))
    packs += it->path().extension() == ".pack";
  return packs;
}

}  // namespace

Result<MirrorStore> MirrorStore::Open(Options options) {
  options.state_folder = fs::absolute(options.state_folder);
  const fs::path folder = options.state_folder / "mirrors";
  // Others on this host have no business with what may be private repositories.
  for (const fs::path& path : {folder, folder / "tmp", folder / "locks"})
    CR_TRY(os::MakeDirs(path, 0700));
  os::TempFolder::RemoveStale(folder / "tmp");
  os::StoppableLock::RemoveStale(folder / "locks");
  auto git = std::make_shared<const Git>(options.git);
  return MirrorStore(std::move(options), std::move(git));
}

Result<RemoteUrl> MirrorStore::ParseUrl(std::string_view text) const {
  return RemoteUrl::Parse(text, git_->config().rules);
}

std::string MirrorStore::KeyOf(const std::string& identity) { return Sha256Hex(identity); }

fs::path MirrorStore::MirrorPath(const std::string& identity) const {
  return folder() / (KeyOf(identity) + ".git");
}

Result<os::StoppableLock> MirrorStore::Lock(const fs::path& mirror,
                                            const std::stop_token& stop) const {
  return os::StoppableLock::Acquire(folder() / "locks" / mirror.stem(), stop, kLockLimit);
}

Result<std::shared_ptr<const MirrorUse>> MirrorStore::Use(const fs::path& mirror) const {
  CR_TRY_ASSIGN(os::UniqueFd fd, os::Open(Beside(mirror, "use"), O_RDWR | O_CREAT));
  // Waits only for a removal or a cleaning, which nothing can precede that takes long.
  while (::flock(fd.get(), LOCK_SH) != 0) {
    if (errno != EINTR) return ErrErrno(ErrorCode::kInternal, "use a mirror");
  }
  return std::make_shared<const MirrorUse>(std::move(fd));
}

Result<std::optional<MirrorUse>> MirrorStore::UseAlone(const fs::path& mirror) const {
  CR_TRY_ASSIGN(os::UniqueFd fd, os::Open(Beside(mirror, "use"), O_RDWR | O_CREAT));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return std::nullopt;
  return MirrorUse(std::move(fd));
}

std::vector<MirrorRecord> MirrorStore::List() const {
  std::vector<MirrorRecord> out;
  std::error_code error;
  for (fs::directory_iterator it(folder(), error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != ".git") continue;
    out.push_back(ReadRecord(it->path()));
  }
  std::ranges::sort(out, {}, &MirrorRecord::url);
  return out;
}

Result<MirrorRecord> MirrorStore::Remove(const std::string& identity,
                                         const std::stop_token& stop) const {
  const fs::path mirror = MirrorPath(identity);
  const auto is_here = [&mirror] {
    std::error_code ignored;
    return fs::exists(mirror, ignored);
  };
  const auto missing = [&identity] {
    return Err(ErrorCode::kNotFound, fmt::format("no mirror of {} here", identity));
  };
  if (!is_here()) return missing();
  // First of all: the lock may be with a fetch, which goes on for long and is a use.
  CR_TRY_ASSIGN(const std::optional<MirrorUse> alone, UseAlone(mirror));
  if (!alone) {
    return Err(ErrorCode::kFailedPrecondition,
               fmt::format("the mirror of {} is in use: something is being made of it", identity));
  }
  CR_TRY_ASSIGN(const os::StoppableLock lock, Lock(mirror, stop));
  if (!is_here()) return missing();
  MirrorRecord record = ReadRecord(mirror);
  std::error_code error;
  CR_TRY_ASSIGN(const os::TempFolder temp, os::TempFolder::Create(folder() / "tmp"));
  fs::rename(mirror, temp.path() / "m.git", error);
  if (error) {
    return Err(Error::FromErrno(ErrorCode::kInternal, error.value(),
                                fmt::format("remove {}", mirror.string())));
  }
  fs::remove(Beside(mirror, "json"), error);
  CR_TRY(os::SyncFolder(folder()));
  return record;
}

Result<bool> MirrorStore::Clean(const std::string& identity, const Control& control) const {
  const fs::path mirror = MirrorPath(identity);
  if (CountPacks(mirror) < kManyPacks) return false;
  CR_TRY_ASSIGN(const os::StoppableLock lock, Lock(mirror, control.stop));
  CR_TRY_ASSIGN(const std::optional<MirrorUse> alone, UseAlone(mirror));
  if (!alone) return false;
  CR_TRY(git_->Local({.args = {"repack", "-a", "-d", "-k", "-q"},
                      .git_dir = mirror,
                      .timeout = std::chrono::hours(1)},
                     control));
  MirrorRecord record = ReadRecord(mirror);
  record.bytes = FolderBytes(mirror);
  CR_TRY(WriteRecord(mirror, record));
  return true;
}

}  // namespace cleanroom::git
