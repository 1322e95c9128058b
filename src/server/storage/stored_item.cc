#include "server/storage/stored_item.h"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>

namespace cleanroom::server {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kBlock = 512;  // of st_blocks, stat(2)

struct Facts {
  uint64_t bytes = 0;
  int64_t changed = 0;
  int64_t read = 0;
};

Facts FactsOf(const fs::path& path) {
  struct stat info = {};
  if (lstat(path.c_str(), &info) != 0) return {};
  return {.bytes = static_cast<uint64_t>(info.st_blocks) * kBlock,
          .changed = info.st_mtim.tv_sec,
          .read = info.st_atim.tv_sec};
}

}  // namespace

StoredItem ItemAt(std::string_view kind, const fs::path& path, std::string name) {
  const Facts facts = FactsOf(path);
  return {.kind = kind,
          .name = name,
          .id = std::move(name),
          .path = path,
          .bytes = RoomTaken(path),
          .made_at = facts.changed,
          .used_at = std::max(facts.changed, facts.read)};
}

void AddEntries(std::vector<StoredItem>& items, std::string_view kind, const fs::path& folder,
                const std::string& prefix) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    items.push_back(ItemAt(kind, it->path(), prefix + it->path().filename().string()));
}

bool IsPruned(const StoredItem& item, const PruneRules& rules, int64_t now) {
  using What = PruneRules::What;
  if (item.in_use || item.pruning == Pruning::kNever) return false;
  if (rules.what == What::kMirrors) {
    if (item.kind != kMirrorKind) return false;
    if (!rules.remote.empty() && item.remote != rules.remote) return false;
  } else if (item.pruning == Pruning::kWithAll && rules.what != What::kAll) {
    return false;
  }
  const int64_t unused = std::max<int64_t>(0, now - std::max(item.used_at, item.made_at));
  std::chrono::seconds least = rules.older_than;
  if (rules.what == What::kTemplates && least.count() == 0) least = item.keep_unused;
  return unused >= least.count();
}

uint64_t RoomTaken(const fs::path& path) {
  uint64_t bytes = FactsOf(path).bytes;
  std::error_code error;
  if (!fs::is_directory(fs::symlink_status(path, error))) return bytes;
  for (fs::recursive_directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    bytes += FactsOf(it->path()).bytes;
  }
  return bytes;
}

std::vector<StoredItem> MeasureRoom(std::vector<StoredItem> items) {
  for (StoredItem& item : items) item.bytes = RoomTaken(item.path);
  return items;
}

}  // namespace cleanroom::server
