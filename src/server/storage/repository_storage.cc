#include "server/storage/repository_storage.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace cleanroom::server {
namespace {

using Needed = std::optional<std::set<repository::NeededCommit>>;

// Whether a layer of this record must stay, for what is known of sandboxes.
class LayerUse {
 public:
  LayerUse(const layers::LayerStore& layers, const Needed& needed, int64_t now)
      : known_(needed.has_value()), now_(now) {
    if (needed) layers_ = repository::LayersOf(layers.List(), *needed);
  }
  bool Has(const layers::LayerRecord& record) const {
    const int64_t just = std::chrono::seconds(kJustHandedOut).count();
    return !known_ || layers_.contains(record.id) || now_ - record.last_used < just;
  }

 private:
  bool known_;
  int64_t now_;
  std::set<layers::LayerId> layers_;
};

std::string NameOf(const layers::LayerRecord& record,
                   const std::map<std::string, std::string>& urls) {
  const auto url = urls.find(repository::Fact(record, "mirror"));
  if (record.id.kind != repository::kObjectsKind || url == urls.end()) return record.notes.of;
  return "objects of " + url->second;
}

std::vector<StoredItem> ListLayers(const layers::LayerStore& layers,
                                   const git::MirrorStore& mirrors, const Needed& needed,
                                   int64_t now) {
  std::map<std::string, std::string> urls;
  for (const git::MirrorRecord& mirror : mirrors.List()) urls[mirror.path.stem()] = mirror.url;
  const LayerUse use(layers, needed, now);
  std::vector<StoredItem> items;
  for (const layers::LayerRecord& record : layers.List()) {
    const bool work_tree = record.id.kind == repository::kWorkTreeKind;
    const bool submodules = record.id.kind == repository::kSubmodulesKind;
    const bool known = work_tree || submodules || record.id.kind == repository::kObjectsKind;
    const auto url = urls.find(repository::Fact(record, "mirror"));
    items.push_back({.kind = work_tree    ? "work-tree"
                             : submodules ? "submodules"
                             : known      ? "objects"
                                          : "layer",
                     .name = NameOf(record, urls),
                     .id = record.id.kind + "/" + record.id.key,
                     .remote = known && url != urls.end() ? url->second : std::string(),
                     .path = record.folder,
                     .bytes = record.disk_bytes,
                     .made_at = record.made_at,
                     .used_at = record.last_used,
                     .in_use = use.Has(record),
                     .pruning = known ? Pruning::kAlways : Pruning::kNever,
                     .keep_unused = kKeepLayers});
  }
  std::ranges::stable_sort(items, std::greater(), &StoredItem::kind);  // work trees first
  return items;
}

}  // namespace

Needed CommitsInUse(const Sandboxes& sandboxes, const git::MirrorStore& mirrors) {
  const auto live = sandboxes.List(store::RecordStore::Which::kLive);
  if (!live) return std::nullopt;
  std::set<repository::NeededCommit> needed;
  for (const store::SandboxRecord& record : *live) {
    if (!record.checkout) continue;
    const auto url = mirrors.ParseUrl(record.checkout->remote_url);
    if (!url) return std::nullopt;  // allowed once, and refused by now
    needed.insert({git::MirrorStore::KeyOf(url->identity()), record.checkout->commit});
  }
  return needed;
}

Awaitable<Result<std::vector<StoredItem>>> LayerStorage::List() {
  auto work = [this, needed = CommitsInUse(sandboxes_, mirrors_), now = Now()] {
    return ListLayers(layers_, mirrors_, needed, now);
  };
  auto items = co_await pool_.Run(work);
  co_return items;
}

Awaitable<Result<void>> LayerStorage::Remove(StoredItem item) {
  auto work = [this, needed = CommitsInUse(sandboxes_, mirrors_), now = Now(),
               id = item.id]() -> Result<void> {
    const size_t slash = id.find('/');
    const LayerUse use(layers_, needed, now);
    CR_TRY(layers_.Remove({id.substr(0, slash), id.substr(slash + 1)},
                          [&use](const layers::LayerRecord& record) { return use.Has(record); },
                          {}));
    return {};
  };
  auto removed = co_await pool_.Run(work);
  co_return removed;
}

// Not known to live is used, too.
bool BundleStorage::InUse(const StoredItem& item) const {
  const auto live = sandboxes_.List(store::RecordStore::Which::kLive);
  const int64_t just = std::chrono::seconds(kJustHandedOut).count();
  if (!live || std::chrono::system_clock::to_time_t(clock_()) - item.made_at < just) return true;
  return std::ranges::any_of(*live, [&item](const store::SandboxRecord& record) {
    return record.checkout && record.checkout->bundle == item.id;
  });
}

Awaitable<Result<std::vector<StoredItem>>> BundleStorage::List() {
  auto work = [folder = bundles_.folder()] {
    std::vector<StoredItem> items;
    AddEntries(items, "bundle", folder);
    return items;
  };
  auto items = co_await pool_.Run(work);
  for (StoredItem& item : items) {
    item.name = "local commits " + item.id.substr(0, 12);
    item.pruning = Pruning::kAlways;
    item.in_use = InUse(item);
  }
  co_return items;
}

Awaitable<Result<void>> BundleStorage::Remove(StoredItem item) {
  if (InUse(item)) co_return Err(ErrorCode::kFailedPrecondition, "in use by now");
  auto work = [path = item.path]() -> Result<void> {
    std::error_code error;
    std::filesystem::remove(path, error);
    if (!error) return {};
    return Err(Error::FromErrno(ErrorCode::kInternal, error.value(),
                                fmt::format("remove {}", path.string())));
  };
  auto removed = co_await pool_.Run(work);
  co_return removed;
}

Awaitable<Result<std::vector<StoredItem>>> MirrorStorage::List() {
  auto work = [this] {
    std::vector<StoredItem> items;
    for (const git::MirrorRecord& record : mirrors_.List()) {
      const std::string key = record.path.stem();
      // One without a record cannot be named, and stays.
      const bool known = git::MirrorStore::KeyOf(record.url) == key;
      items.push_back({.kind = kMirrorKind,
                       .name = known ? record.url : key,
                       .id = known ? record.url : key,
                       .remote = known ? record.url : std::string(),
                       .path = record.path,
                       .used_at = record.used_at,
                       .fetched_at = known ? record.refreshed_at / 1'000'000'000 : 0,
                       .pruning = known ? Pruning::kWithAll : Pruning::kNever});
    }
    return MeasureRoom(std::move(items));
  };
  auto items = co_await pool_.Run(work);
  const Needed needed = CommitsInUse(sandboxes_, mirrors_);
  std::set<std::string> used;
  if (needed) {
    for (const repository::NeededCommit& commit : *needed) used.insert(commit.mirror);
  }
  for (StoredItem& item : items) item.in_use = !needed || used.contains(item.path.stem());
  co_return items;
}

Awaitable<Result<void>> MirrorStorage::Remove(StoredItem item) {
  const Needed needed = CommitsInUse(sandboxes_, mirrors_);
  const std::string key = git::MirrorStore::KeyOf(item.id);
  const bool used = !needed || std::ranges::any_of(*needed, [&key](const auto& commit) {
    return commit.mirror == key;
  });
  if (used) co_return Err(ErrorCode::kFailedPrecondition, "in use by now");
  auto work = [this, identity = item.id]() -> Result<void> {
    CR_TRY(mirrors_.Remove(identity, {}));
    return {};
  };
  auto removed = co_await pool_.Run(work);
  co_return removed;
}

}  // namespace cleanroom::server
