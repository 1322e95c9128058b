#include "server/storage/storage.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <tuple>
#include <utility>

namespace cleanroom::server {
namespace {

namespace fs = std::filesystem;
using Which = store::RecordStore::Which;

constexpr int64_t kMicros = 1'000'000;

bool Holds(const fs::path& folder, const std::string& file) {
  return file == folder || file.starts_with(folder.string() + "/");
}

}  // namespace

int64_t Storage::Now() const { return std::chrono::system_clock::to_time_t(context_.clock()); }

std::optional<std::set<std::string>> Storage::TemplatesInUse() const {
  const auto machine = context_.machine();
  const auto live = context_.sandboxes.List(Which::kLive);
  if (!machine || !live) return std::nullopt;
  std::set<std::string> keys;
  for (const store::SandboxRecord& record : *live) {
    keys.insert(vmm::TemplateKey({.image_digest = record.image_digest,
                                  .image_file = {},
                                  .machine = machine->identity,
                                  .vcpus = record.vcpus,
                                  .memory_mib = record.memory_mib,
                                  .disk_mib = record.disk_mib}));
  }
  return keys;
}

Awaitable<Result<std::vector<StoredItem>>> Storage::List() {
  auto images = co_await context_.images.List();
  if (!images) co_return Err(std::move(images).error());
  auto templates = co_await context_.templates.List();
  if (!templates) co_return Err(std::move(templates).error());
  std::vector<StoredItem> known;
  AddTemplates(*templates, known);
  CR_CO_TRY(AddImages(*images, *templates, known));
  auto work = [known = std::move(known), layout = context_.layout,
               state = context_.settings.state_dir, cache = context_.settings.cache_dir,
               now = Now()]() mutable {
    for (StoredItem& item : known) item.bytes = RoomTaken(item.path);
    std::vector<StoredItem> items = ScanFolders(layout, state, cache, now);
    items.insert(items.end(), std::make_move_iterator(known.begin()),
                 std::make_move_iterator(known.end()));
    return items;
  };
  auto items = co_await context_.pool.Run(work);
  MarkInUse(items);
  std::ranges::sort(items, [](const StoredItem& a, const StoredItem& b) {
    return std::tie(a.kind, b.bytes, a.name) < std::tie(b.kind, a.bytes, b.name);
  });
  co_return items;
}

void Storage::AddTemplates(const std::vector<vmm::TemplateStore::Entry>& templates,
                           std::vector<StoredItem>& items) const {
  for (const vmm::TemplateStore::Entry& entry : templates) {
    vmm::TemplateInputs shape = entry.inputs;
    shape.image_file.clear();
    items.push_back({.kind = StoredKind::kTemplate,
                     .name = entry.key,
                     .id = entry.key,
                     .shape = vmm::TemplateKey(shape),
                     .path = fs::path(context_.layout.Templates()) / entry.key,
                     .made_at = entry.made_at,
                     .used_at = std::max(entry.made_at, entry.used_at),
                     .pruning = Pruning::kAlways});
  }
}

// An image is used by its sandboxes, by those on record, and by its templates.
Result<void> Storage::AddImages(const std::vector<image::ImageRecord>& images,
                                const std::vector<vmm::TemplateStore::Entry>& templates,
                                std::vector<StoredItem>& items) const {
  std::map<std::string, int64_t> used;  // by digest
  for (const vmm::TemplateStore::Entry& entry : templates) {
    int64_t& newest = used[entry.inputs.image_digest];
    newest = std::max({newest, entry.made_at, entry.used_at});
  }
  CR_TRY_ASSIGN(const auto records, context_.sandboxes.List(Which::kAll));
  for (const store::SandboxRecord& record : records) {
    int64_t& newest = used[record.image_digest];
    newest = std::max(newest, record.last_activity_us / kMicros);
  }
  for (const image::ImageRecord& record : images) {
    items.push_back({.kind = StoredKind::kImage,
                     .name = record.Pinned(),
                     .id = record.digest,
                     .path = record.rootfs.parent_path(),
                     .made_at = record.pulled_at,
                     .used_at = std::max(record.pulled_at, used[record.digest]),
                     .pruning = Pruning::kWithAll});
  }
  return {};
}

void Storage::MarkInUse(std::vector<StoredItem>& items) const {
  const auto needed = TemplatesInUse();
  const auto machine = context_.machine();
  for (StoredItem& item : items) {
    switch (item.kind) {
      case StoredKind::kImage:
        item.in_use = context_.images.InUse(item.id);
        break;
      case StoredKind::kTemplate:
        item.in_use = !needed || needed->contains(item.shape);
        break;
      case StoredKind::kKernel:
        item.in_use = !machine || Holds(item.path, machine->kernel_path) ||
                      Holds(item.path, machine->initrd_path);
        break;
      case StoredKind::kSandbox:
        // Also of a spare machine, and of a template that is being made.
        item.in_use = true;
        break;
      default:
        break;
    }
  }
}

Awaitable<Result<std::vector<StoredItem>>> Storage::Find(PruneRules rules) {
  auto items = co_await List();
  if (!items) co_return Err(std::move(items).error());
  const int64_t now = Now();
  std::erase_if(*items, [&](const StoredItem& item) { return !IsPruned(item, rules, now); });
  co_return items;
}

Awaitable<Result<Pruned>> Storage::Prune(PruneRules rules) {
  auto found = co_await Find(rules);
  if (!found) co_return Err(std::move(found).error());
  Pruned pruned;
  for (StoredItem& item : *found) {
    auto removed = co_await Remove(item);
    if (removed) {
      spdlog::info("pruned kind={} name={} bytes={}", ToString(item.kind), item.name, item.bytes);
      pruned.items.push_back(std::move(item));
      continue;
    }
    // Somebody began to use it, or removed it, meanwhile.
    const ErrorCode code = removed.error().code();
    if (code == ErrorCode::kFailedPrecondition || code == ErrorCode::kNotFound) continue;
    pruned.failures.push_back(std::move(removed)
                                  .error()
                                  .Context(fmt::format("{} {}", ToString(item.kind), item.name))
                                  .ToString());
  }
  co_return pruned;
}

Awaitable<Result<void>> Storage::Remove(StoredItem item) {
  if (item.kind == StoredKind::kImage) {
    auto removed = co_await RemoveImage(item.id);
    if (!removed) co_return Err(std::move(removed).error());
    co_return Result<void>();
  }
  std::vector<StoredItem> now = {item};
  MarkInUse(now);
  if (now.front().in_use) co_return Err(ErrorCode::kFailedPrecondition, "in use by now");
  if (item.kind == StoredKind::kTemplate) {
    context_.spares.DrainTemplate(item.id);
    auto removed = co_await context_.templates.Remove(item.id);
    co_return removed;
  }
  auto work = [path = item.path]() -> Result<void> {
    std::error_code error;
    fs::remove_all(path, error);
    if (!error) return {};
    return Err(Error::FromErrno(ErrorCode::kInternal, error.value(),
                                fmt::format("remove {}", path.string())));
  };
  auto removed = co_await context_.pool.Run(work);
  co_return removed;
}

Awaitable<Result<image::ImageRecord>> Storage::RemoveImage(std::string ref) {
  auto found = co_await context_.images.Get(ref);
  if (!found) co_return Err(std::move(found).error());
  if (!context_.images.InUse(found->digest)) {
    context_.spares.Drain(found->digest);
    auto forgotten = co_await context_.templates.RemoveOf(found->digest);
    if (!forgotten) co_return Err(std::move(forgotten).error());
  }
  // Asks once more, under the image's lock.
  auto removed = co_await context_.images.Remove(std::move(ref));
  co_return removed;
}

}  // namespace cleanroom::server
