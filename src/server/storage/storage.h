// Storage: what the daemon keeps on this host, and the removal of what can be made again. What a
// live sandbox uses stays, and so do records, output and the audit log, always. Spare machines of
// what goes are ended first.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/async.h"
#include "image/store.h"
#include "server/images/images.h"
#include "server/launch/launch_resources.h"
#include "server/layout.h"
#include "server/sandboxes/sandboxes.h"
#include "server/settings.h"
#include "server/storage/stored_item.h"
#include "server/warm/spares.h"
#include "server/warm/templates.h"

namespace cleanroom::server {

// All of it outlives Storage.
struct StorageContext {
  Images& images;
  Templates& templates;
  Spares& spares;
  const Sandboxes& sandboxes;
  BlockingPool& pool;
  const Settings& settings;
  const Layout& layout;
  WallClock clock;
  // What sandboxes boot with now; nothing while that is not known, and then every kernel and every
  // template counts as used.
  std::function<std::optional<LaunchMachine>()> machine;
};

struct Pruned {
  std::vector<StoredItem> items;
  std::vector<std::string> failures;  // "code: text" of what should have gone
};

class Storage {
 public:
  explicit Storage(StorageContext context) : context_(std::move(context)) {}

  // Sorted by kind, the largest first.
  Awaitable<Result<std::vector<StoredItem>>> List();
  // What Prune would remove now.
  Awaitable<Result<std::vector<StoredItem>>> Find(PruneRules rules);
  // One that cannot be removed does not keep the others.
  Awaitable<Result<Pruned>> Prune(PruneRules rules);

  // Removes an image with its spare machines and templates: an image that is pulled again need not
  // be the same block for block, and templates depend on that. not_found; failed_precondition while
  // a sandbox uses it.
  Awaitable<Result<image::ImageRecord>> RemoveImage(std::string ref);

 private:
  // Keys of the templates that live sandboxes run from, or would; nothing when that is not known.
  std::optional<std::set<std::string>> TemplatesInUse() const;
  Result<void> AddImages(const std::vector<image::ImageRecord>& images,
                         const std::vector<vmm::TemplateStore::Entry>& templates,
                         std::vector<StoredItem>& items) const;
  void AddTemplates(const std::vector<vmm::TemplateStore::Entry>& templates,
                    std::vector<StoredItem>& items) const;
  void MarkInUse(std::vector<StoredItem>& items) const;
  int64_t Now() const;
  Awaitable<Result<void>> Remove(StoredItem item);

  StorageContext context_;
};

}  // namespace cleanroom::server
