#include "server/storage/file_storage.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace cleanroom::server {
namespace {

namespace fs = std::filesystem;

// A half-made file that nobody has written to for this long has no maker any more.
constexpr int64_t kAbandonedSeconds = 3600;
constexpr std::string_view kSandbox = "sandbox";

bool Holds(const fs::path& folder, const std::string& file) {
  return file == folder || file.starts_with(folder.string() + "/");
}

// The output and the timings of an execution lie beside each other.
void AddExecutions(std::vector<StoredItem>& items, const fs::path& folder) {
  std::vector<StoredItem> parts;
  AddEntries(parts, "execution", folder);
  for (StoredItem& part : parts) part.name = part.id = part.path.stem().string();
  std::ranges::sort(parts, {}, &StoredItem::name);
  for (StoredItem& part : parts) {
    if (!items.empty() && items.back().kind == part.kind && items.back().name == part.name) {
      items.back().bytes += part.bytes;
      continue;
    }
    items.push_back(std::move(part));
  }
}

std::vector<StoredItem> ScanKernels(const fs::path& cache) {
  std::vector<StoredItem> items;
  for (const std::string& folder : KernelStorage::Folders()) {
    AddEntries(items, "kernel", cache / folder, folder + "/");
  }
  for (StoredItem& item : items) {
    // The lock; and what begins so is being made.
    const bool hidden = item.path.filename().string().starts_with('.');
    item.pruning = hidden ? Pruning::kNever : Pruning::kWithAll;
  }
  return items;
}

std::vector<StoredItem> ScanRecords(const fs::path& state, const Layout& layout) {
  std::vector<StoredItem> items;
  AddEntries(items, kSandbox, layout.Sandboxes());
  AddExecutions(items, layout.Executions());
  AddEntries(items, "audit", layout.Audit());
  const std::string records = fs::path(layout.Records()).filename();
  std::error_code error;
  for (fs::directory_iterator it(state, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (name.starts_with(records)) items.push_back(ItemAt("records", it->path(), name));
  }
  return items;
}

std::vector<StoredItem> ScanCache(const fs::path& cache, const std::set<std::string>& owned,
                                  int64_t now) {
  std::vector<StoredItem> items;
  AddEntries(items, "cache", cache);
  std::erase_if(items, [&](const StoredItem& item) { return owned.contains(item.name); });
  for (StoredItem& item : items) {
    if (!item.name.starts_with("empty-")) continue;
    const bool whole = item.path.extension() == ".ext4";
    const bool abandoned = now - item.made_at > kAbandonedSeconds;
    item.pruning = whole || abandoned ? Pruning::kWithAll : Pruning::kNever;
  }
  return items;
}

}  // namespace

Awaitable<Result<std::vector<StoredItem>>> FileStorage::List() {
  const Scan scan = Scanner();
  const int64_t now = std::chrono::system_clock::to_time_t(clock_());
  auto work = [scan, now] { return scan(now); };
  auto items = co_await pool_.Run(work);
  for (StoredItem& item : items) item.in_use = InUse(item);
  co_return items;
}

Awaitable<Result<void>> FileStorage::Remove(StoredItem item) {
  if (InUse(item)) co_return Err(ErrorCode::kFailedPrecondition, "in use by now");
  auto work = [path = item.path]() -> Result<void> {
    std::error_code error;
    fs::remove_all(path, error);
    if (!error) return {};
    return Err(Error::FromErrno(ErrorCode::kInternal, error.value(),
                                fmt::format("remove {}", path.string())));
  };
  auto removed = co_await pool_.Run(work);
  co_return removed;
}

FileStorage::Scan KernelStorage::Scanner() const {
  return [cache = cache_](int64_t) { return ScanKernels(cache); };
}

bool KernelStorage::InUse(const StoredItem& item) const {
  const auto machine = machine_();
  return !machine || Holds(item.path, machine->kernel_path) ||
         Holds(item.path, machine->initrd_path);
}

FileStorage::Scan RecordStorage::Scanner() const {
  return [state = state_, layout = layout_](int64_t) { return ScanRecords(state, layout); };
}

// A sandbox's folder may be that of a spare machine, or of a template that is being made.
bool RecordStorage::InUse(const StoredItem& item) const { return item.kind == kSandbox; }

FileStorage::Scan CacheStorage::Scanner() const {
  return [cache = cache_, owned = owned_](int64_t now) { return ScanCache(cache, owned, now); };
}

}  // namespace cleanroom::server
