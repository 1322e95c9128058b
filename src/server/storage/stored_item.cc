#include "server/storage/stored_item.h"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>

namespace cleanroom::server {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kBlock = 512;  // of st_blocks, stat(2)
// A half-made file that nobody has written to for this long has no maker any more.
constexpr int64_t kAbandonedSeconds = 3600;

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

StoredItem ItemAt(StoredKind kind, const fs::path& path, std::string name) {
  const Facts facts = FactsOf(path);
  return {.kind = kind,
          .name = name,
          .id = std::move(name),
          .path = path,
          .bytes = RoomTaken(path),
          .made_at = facts.changed,
          .used_at = std::max(facts.changed, facts.read)};
}

// One for each entry of the folder, which may be missing.
void AddEntries(std::vector<StoredItem>& items, StoredKind kind, const fs::path& folder,
                const std::string& prefix = "") {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    items.push_back(ItemAt(kind, it->path(), prefix + it->path().filename().string()));
}

// The output and the timings of an execution lie beside each other.
void AddExecutions(std::vector<StoredItem>& items, const fs::path& folder) {
  std::vector<StoredItem> parts;
  AddEntries(parts, StoredKind::kExecution, folder);
  for (StoredItem& part : parts) {
    part.name = part.id = part.path.stem().string();
  }
  std::ranges::sort(parts, {}, &StoredItem::name);
  for (StoredItem& part : parts) {
    if (!items.empty() && items.back().kind == part.kind && items.back().name == part.name) {
      items.back().bytes += part.bytes;
      continue;
    }
    items.push_back(std::move(part));
  }
}

void AddKernels(std::vector<StoredItem>& items, const fs::path& cache) {
  const size_t first = items.size();
  AddEntries(items, StoredKind::kKernel, cache / "kernels", "kernels/");
  AddEntries(items, StoredKind::kKernel, cache / "initramfs", "initramfs/");
  for (size_t i = first; i < items.size(); ++i) {
    // The lock; and what begins so is being made.
    const bool hidden = items[i].path.filename().string().starts_with('.');
    items[i].pruning = hidden ? Pruning::kNever : Pruning::kWithAll;
  }
}

// Formatted empty disks, and whatever else lies in the cache.
void AddCaches(std::vector<StoredItem>& items, const fs::path& cache, int64_t now) {
  std::vector<StoredItem> entries;
  AddEntries(entries, StoredKind::kCache, cache);
  for (StoredItem& entry : entries) {
    if (entry.name == "images" || entry.name == "kernels" || entry.name == "initramfs") continue;
    if (entry.name.starts_with("empty-")) {
      const bool whole = entry.path.extension() == ".ext4";
      const bool abandoned = now - entry.made_at > kAbandonedSeconds;
      entry.pruning = whole || abandoned ? Pruning::kWithAll : Pruning::kNever;
    }
    items.push_back(std::move(entry));
  }
}

}  // namespace

std::string_view ToString(StoredKind kind) {
  switch (kind) {
    case StoredKind::kImage:
      return "image";
    case StoredKind::kTemplate:
      return "template";
    case StoredKind::kKernel:
      return "kernel";
    case StoredKind::kSandbox:
      return "sandbox";
    case StoredKind::kExecution:
      return "execution";
    case StoredKind::kAudit:
      return "audit";
    case StoredKind::kRecords:
      return "records";
    case StoredKind::kCache:
      return "cache";
  }
  return "cache";
}

bool IsPruned(const StoredItem& item, const PruneRules& rules, int64_t now) {
  if (item.in_use || item.pruning == Pruning::kNever) return false;
  if (item.pruning == Pruning::kWithAll && rules.what != PruneRules::What::kAll) return false;
  const int64_t unused = std::max<int64_t>(0, now - std::max(item.used_at, item.made_at));
  return unused >= rules.older_than.count();
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

std::vector<StoredItem> ScanFolders(const Layout& layout, const fs::path& state_dir,
                                    const fs::path& cache_dir, int64_t now) {
  std::vector<StoredItem> items;
  AddEntries(items, StoredKind::kSandbox, layout.Sandboxes());
  AddExecutions(items, layout.Executions());
  AddEntries(items, StoredKind::kAudit, layout.Audit());
  const std::string records = fs::path(layout.Records()).filename();
  std::error_code error;
  for (fs::directory_iterator it(state_dir, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (name.starts_with(records)) items.push_back(ItemAt(StoredKind::kRecords, it->path(), name));
  }
  AddKernels(items, cache_dir);
  AddCaches(items, cache_dir, now);
  return items;
}

}  // namespace cleanroom::server
