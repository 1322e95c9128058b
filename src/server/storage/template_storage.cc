#include "server/storage/template_storage.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace cleanroom::server {
namespace {

// The key of its inputs without the image's file, which sandboxes on record do not have.
std::string ShapeKey(vmm::TemplateInputs inputs) {
  inputs.image_file.clear();
  return vmm::TemplateKey(inputs);
}

}  // namespace

std::optional<std::set<std::string>> TemplateStorage::InUse() const {
  const auto machine = machine_();
  const auto live = sandboxes_.List(store::RecordStore::Which::kLive);
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

Awaitable<Result<std::vector<StoredItem>>> TemplateStorage::List() {
  auto templates = co_await templates_.List();
  if (!templates) co_return Err(std::move(templates).error());
  const auto in_use = InUse();
  std::vector<StoredItem> items;
  for (const vmm::TemplateStore::Entry& entry : *templates) {
    items.push_back({.kind = "template",
                     .name = entry.key,
                     .id = entry.key,
                     .path = std::filesystem::path(layout_.Templates()) / entry.key,
                     .made_at = entry.made_at,
                     .used_at = std::max(entry.made_at, entry.used_at),
                     .in_use = !in_use || in_use->contains(ShapeKey(entry.inputs)),
                     .pruning = Pruning::kAlways});
  }
  auto work = [items = std::move(items)]() mutable { return MeasureRoom(std::move(items)); };
  auto measured = co_await pool_.Run(work);
  co_return measured;
}

Awaitable<Result<void>> TemplateStorage::Remove(StoredItem item) {
  auto templates = co_await templates_.List();
  if (!templates) co_return Err(std::move(templates).error());
  const auto entry = std::ranges::find(*templates, item.id, &vmm::TemplateStore::Entry::key);
  if (entry == templates->end()) co_return Result<void>();  // gone with its image
  const auto in_use = InUse();
  if (!in_use || in_use->contains(ShapeKey(entry->inputs)))
    co_return Err(ErrorCode::kFailedPrecondition, "in use by now");
  spares_.DrainTemplate(item.id);
  auto removed = co_await templates_.Remove(item.id);
  co_return removed;
}

}  // namespace cleanroom::server
