#include "layers/layer_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

namespace cleanroom::layers {
namespace fs = std::filesystem;
namespace {

constexpr const char* kRecord = "layer.json";
constexpr const char* kLayer = "layer.ext4";
constexpr size_t kMaxRecordBytes = 1 << 20;
// Whoever holds the lock may be making a large layer.
constexpr std::chrono::minutes kLockLimit{60};
constexpr std::chrono::seconds kLeastUnused{60};

bool IsKind(std::string_view text) {
  return !text.empty() && text.size() <= 32 &&
         std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; });
}

bool IsKey(std::string_view text) {
  return text.size() == 64 && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Result<void> Check(const LayerId& id) {
  if (IsKind(id.kind) && IsKey(id.key)) return {};
  return Err(ErrorCode::kInvalidArgument,
             fmt::format("no name of a layer: {}/{}", id.kind, id.key));
}

std::unexpected<Error> Failed(const std::error_code& error, std::string what) {
  const bool full = error == std::errc::no_space_on_device;
  return Err(Error::FromErrno(full ? ErrorCode::kResourceExhausted : ErrorCode::kInternal,
                              error.value(), what));
}

std::unexpected<Error> NotHere(const LayerId& id) {
  return Err(ErrorCode::kNotFound, fmt::format("no layer {}/{} here", id.kind, id.key));
}

Result<LayerRecord> ReadRecord(const fs::path& folder) {
  CR_TRY_ASSIGN(const std::string text, os::ReadFile(folder / kRecord, kMaxRecordBytes));
  CR_TRY_ASSIGN(LayerRecord record, RecordFromJson(text));
  record.folder = folder;
  struct stat st;
  if (::stat(record.file().c_str(), &st) != 0)
    return ErrErrno(ErrorCode::kDataCorrupt, fmt::format("look at {}", record.file().string()));
  if (::stat((folder / kRecord).c_str(), &st) == 0) record.last_used = st.st_mtim.tv_sec;
  if (record.id.key != folder.filename().string() ||
      record.id.kind != folder.parent_path().filename().string()) {
    return Err(ErrorCode::kDataCorrupt,
               fmt::format("{} has the record of another layer", folder.string()));
  }
  return record;
}

uint64_t DiskBytes(const fs::path& folder) {
  uint64_t bytes = 0;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    struct stat st;
    if (::lstat(it->path().c_str(), &st) == 0) bytes += static_cast<uint64_t>(st.st_blocks) * 512;
  }
  return bytes;
}

}  // namespace

Result<LayerStore> LayerStore::Open(const fs::path& cache_folder) {
  const fs::path folder = fs::absolute(cache_folder);
  for (const char* name : {"layers", "locks", "tmp"}) CR_TRY(os::MakeDirs(folder / name, 0755));
  os::TempFolder::RemoveStale(folder / "tmp");
  os::StoppableLock::RemoveStale(folder / "locks");
  return LayerStore(folder);
}

fs::path LayerStore::Folder(const LayerId& id) const {
  return folder_ / "layers" / id.kind / id.key;
}

Result<os::StoppableLock> LayerStore::Lock(const LayerId& id, const std::stop_token& stop) const {
  return os::StoppableLock::Acquire(folder_ / "locks" / fmt::format("layer-{}-{}", id.kind, id.key),
                                    stop, kLockLimit);
}

std::optional<LayerRecord> LayerStore::Find(const LayerId& id) const {
  if (!Check(id)) return {};
  Result<LayerRecord> record = ReadRecord(Folder(id));
  if (!record) return {};
  return std::move(*record);
}

std::optional<LayerRecord> LayerStore::Use(const LayerId& id) const {
  if (!Check(id)) return {};
  // First the mark, then the look: Prune looks at the mark before it takes the layer away.
  ::utimensat(AT_FDCWD, (Folder(id) / kRecord).c_str(), nullptr, 0);
  return Find(id);
}

Result<LayerStore::Made> LayerStore::Make(const LayerId& id, const Builder& builder,
                                          const std::stop_token& stop) const {
  CR_TRY(Check(id));
  if (std::optional<LayerRecord> there = Use(id)) return Made{std::move(*there), false};
  CR_TRY_ASSIGN(const os::StoppableLock lock, Lock(id, stop));
  if (std::optional<LayerRecord> there = Use(id)) return Made{std::move(*there), false};
  CR_TRY_ASSIGN(const os::TempFolder temp, os::TempFolder::Create(folder_ / "tmp"));
  const fs::path building = temp.path() / "layer";
  CR_TRY(os::MakeDirs(building, 0755));
  CR_TRY_ASSIGN(LayerNotes notes, builder(building));
  CR_TRY_ASSIGN(LayerRecord record, Commit(id, std::move(notes), temp));
  return Made{std::move(record), true};
}

Result<LayerRecord> LayerStore::Commit(const LayerId& id, LayerNotes notes,
                                       const os::TempFolder& built) const {
  const fs::path ready = built.path() / "layer";
  LayerRecord record{.id = id, .notes = std::move(notes), .folder = ready};
  record.made_at = record.last_used = std::chrono::duration_cast<std::chrono::seconds>(
                                          std::chrono::system_clock::now().time_since_epoch())
                                          .count();
  if (::chmod(record.file().c_str(), 0444) != 0)
    return ErrErrno(ErrorCode::kInternal, fmt::format("make {} read-only", record.file().string()));
  record.disk_bytes = DiskBytes(ready);
  CR_TRY(os::WriteFileAtomic(ready / kRecord, RecordToJson(record), 0644));
  const fs::path target = Folder(id);
  CR_TRY(os::MakeDirs(target.parent_path(), 0755));
  std::error_code error;
  // Only a damaged layer (no readable record) can be in the way: the lock is held and Use saw none.
  if (fs::exists(target, error)) fs::rename(target, built.path() / "damaged", error);
  if (!error) fs::rename(ready, target, error);
  if (error) return Failed(error, fmt::format("store a layer in {}", target.string()));
  CR_TRY(os::SyncFolder(target.parent_path()));
  record.folder = target;
  return record;
}

std::vector<LayerRecord> LayerStore::List(std::string_view kind) const {
  std::vector<LayerRecord> out;
  std::error_code error, ignored;
  for (fs::directory_iterator kinds(folder_ / "layers", error), end; !error && kinds != end;
       kinds.increment(error)) {
    if (!kind.empty() && kinds->path().filename().string() != kind) continue;
    for (fs::directory_iterator it(kinds->path(), ignored); !ignored && it != end;
         it.increment(ignored)) {
      Result<LayerRecord> record = ReadRecord(it->path());
      if (record) out.push_back(std::move(*record));
    }
  }
  std::ranges::sort(out, {}, &LayerRecord::id);
  return out;
}

// Out of sight in one step, then taken apart.
Result<void> LayerStore::TakeAway(const LayerRecord& record) const {
  CR_TRY_ASSIGN(const os::TempFolder temp, os::TempFolder::Create(folder_ / "tmp"));
  std::error_code error;
  fs::rename(record.folder, temp.path() / "layer", error);
  if (error) return Failed(error, fmt::format("remove {}", record.folder.string()));
  return os::SyncFolder(record.folder.parent_path());
}

Result<LayerRecord> LayerStore::Remove(const LayerId& id, const InUseFn& in_use,
                                       const std::stop_token& stop) const {
  CR_TRY(Check(id));
  CR_TRY_ASSIGN(const os::StoppableLock lock, Lock(id, stop));
  std::optional<LayerRecord> record = Find(id);
  if (!record) return NotHere(id);
  if (in_use && in_use(*record)) {
    return Err(Error(ErrorCode::kFailedPrecondition,
                     fmt::format("the layer {}/{} ({}) is in use by a sandbox", id.kind, id.key,
                                 record->notes.of))
                   .Remedy("Remove the sandbox first; see: cleanroom sandbox ls --all"));
  }
  CR_TRY(TakeAway(*record));
  return std::move(*record);
}

Result<std::vector<LayerRecord>> LayerStore::Prune(std::chrono::seconds unused_for,
                                                   const InUseFn& in_use,
                                                   const std::stop_token& stop) const {
  const int64_t newest = std::chrono::duration_cast<std::chrono::seconds>(
                             std::chrono::system_clock::now().time_since_epoch())
                             .count() -
                         std::max(unused_for, kLeastUnused).count();
  std::vector<LayerRecord> gone;
  for (const LayerRecord& listed : List()) {
    if (listed.last_used > newest) continue;
    CR_TRY_ASSIGN(const os::StoppableLock lock, Lock(listed.id, stop));
    std::optional<LayerRecord> record = Find(listed.id);
    if (!record || record->last_used > newest || (in_use && in_use(*record))) continue;
    CR_TRY(TakeAway(*record));
    gone.push_back(std::move(*record));
  }
  return gone;
}

}  // namespace cleanroom::layers
