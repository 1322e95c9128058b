#include "server/storage/storage.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>

#include "telemetry/log.h"

namespace cleanroom::server {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

int64_t Storage::Now() const { return std::chrono::system_clock::to_time_t(clock_()); }

Awaitable<Result<std::vector<StoredItem>>> Storage::ListOf(StorageOwner& owner) {
  auto items = co_await owner.List();
  if (!items) co_return Err(std::move(items).error());
  std::map<std::string_view, size_t> order;  // of the kinds, as the owner told them
  for (const StoredItem& item : *items) order.emplace(item.kind, order.size());
  std::ranges::sort(*items, [&order](const StoredItem& a, const StoredItem& b) {
    return std::tie(order[a.kind], b.bytes, a.name) < std::tie(order[b.kind], a.bytes, b.name);
  });
  co_return items;
}

Awaitable<Result<std::vector<StoredItem>>> Storage::List() {
  std::vector<StoredItem> all;
  for (StorageOwner* owner : owners_) {
    auto items = co_await ListOf(*owner);
    if (!items) co_return Err(std::move(items).error());
    std::ranges::move(*items, std::back_inserter(all));
  }
  co_return all;
}

Awaitable<Result<std::vector<StoredItem>>> Storage::Find(PruneRules rules) {
  auto items = co_await List();
  if (!items) co_return Err(std::move(items).error());
  const int64_t now = Now();
  std::erase_if(*items, [&](const StoredItem& item) { return !IsPruned(item, rules, now); });
  co_return items;
}

Awaitable<Result<Pruned>> Storage::Prune(PruneRules rules) {
  // All is looked at before anything goes: what goes with another thing is told, too.
  std::vector<std::vector<StoredItem>> found;
  for (StorageOwner* owner : owners_) {
    auto items = co_await ListOf(*owner);
    if (!items) co_return Err(std::move(items).error());
    found.push_back(*std::move(items));
  }
  const int64_t now = Now();
  Pruned pruned;
  for (size_t i = 0; i < owners_.size(); ++i) {
    StorageOwner* owner = owners_[i];
    for (StoredItem& item : found[i]) {
      if (!IsPruned(item, rules, now)) continue;
      auto removed = co_await owner->Remove(item);
      if (removed) {
        Log(LogLevel::kInfo, "pruned", Field("kind", item.kind), Field("name", item.name),
            Field("bytes", item.bytes));
        pruned.items.push_back(std::move(item));
        continue;
      }
      // Somebody began to use it, or removed it, meanwhile.
      const ErrorCode code = removed.error().code();
      if (code == ErrorCode::kFailedPrecondition || code == ErrorCode::kNotFound) continue;
      pruned.failures.push_back(std::move(removed)
                                    .error()
                                    .Context(fmt::format("{} {}", item.kind, item.name))
                                    .ToString());
    }
  }
  co_return pruned;
}

}  // namespace cleanroom::server
