#include "server/storage/image_storage.h"

#include <algorithm>
#include <map>
#include <utility>

namespace cleanroom::server {
namespace {

constexpr int64_t kMicros = 1'000'000;

}  // namespace

Awaitable<Result<std::vector<StoredItem>>> ImageStorage::List() {
  auto images = co_await images_.List();
  if (!images) co_return Err(std::move(images).error());
  auto templates = co_await templates_.List();
  if (!templates) co_return Err(std::move(templates).error());
  std::map<std::string, int64_t> used;  // by digest
  for (const vmm::TemplateStore::Entry& entry : *templates) {
    int64_t& newest = used[entry.inputs.image_digest];
    newest = std::max({newest, entry.made_at, entry.used_at});
  }
  CR_CO_TRY_ASSIGN(const auto records, sandboxes_.List(store::RecordStore::Which::kAll));
  for (const store::SandboxRecord& record : records) {
    int64_t& newest = used[record.image_digest];
    newest = std::max(newest, record.last_activity_us / kMicros);
  }
  std::vector<StoredItem> items;
  for (const image::ImageRecord& record : *images) {
    items.push_back({.kind = "image",
                     .name = record.Pinned(),
                     .id = record.digest,
                     .path = record.rootfs.parent_path(),
                     .made_at = record.pulled_at,
                     .used_at = std::max(record.pulled_at, used[record.digest]),
                     .pruning = Pruning::kWithAll});
  }
  auto work = [items = std::move(items)]() mutable { return MeasureRoom(std::move(items)); };
  auto measured = co_await pool_.Run(work);
  for (StoredItem& item : measured) item.in_use = images_.InUse(item.id);
  co_return measured;
}

Awaitable<Result<void>> ImageStorage::Remove(StoredItem item) {
  auto removed = co_await RemoveImage(item.id);
  if (!removed) co_return Err(std::move(removed).error());
  co_return Result<void>();
}

Awaitable<Result<image::ImageRecord>> ImageStorage::RemoveImage(std::string ref) {
  auto found = co_await images_.Get(ref);
  if (!found) co_return Err(std::move(found).error());
  if (!images_.InUse(found->digest)) {
    spares_.Drain(found->digest);
    auto forgotten = co_await templates_.RemoveOf(found->digest);
    if (!forgotten) co_return Err(std::move(forgotten).error());
  }
  // Asks once more, under the image's lock.
  auto removed = co_await images_.Remove(std::move(ref));
  co_return removed;
}

}  // namespace cleanroom::server
