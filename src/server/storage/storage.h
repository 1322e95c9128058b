// Storage: what the daemon keeps on this host, and the removal of what can be made again. What a
// live sandbox uses stays, and so do records, output and the audit log, always.
//
// Each kind of thing has an owner, which knows what is in use: `system df` and `system prune` show
// and remove what the owners say.
#pragma once

#include <string>
#include <vector>

#include "base/async.h"
#include "server/settings.h"
#include "server/storage/stored_item.h"

namespace cleanroom::server {

class StorageOwner {
 public:
  virtual ~StorageOwner() = default;
  // What it keeps, in_use told.
  virtual Awaitable<Result<std::vector<StoredItem>>> List() = 0;
  // Removes one that List has told. failed_precondition when somebody uses it by now, not_found
  // when it is gone.
  virtual Awaitable<Result<void>> Remove(StoredItem item) = 0;
};

struct Pruned {
  std::vector<StoredItem> items;
  std::vector<std::string> failures;  // "code: text" of what should have gone
};

class Storage {
 public:
  // The owners outlive it. Their order is that of List, and of removal.
  Storage(std::vector<StorageOwner*> owners, WallClock clock)
      : owners_(std::move(owners)), clock_(std::move(clock)) {}

  // By owner and kind, the largest first.
  Awaitable<Result<std::vector<StoredItem>>> List();
  // What Prune would remove now.
  Awaitable<Result<std::vector<StoredItem>>> Find(PruneRules rules);
  // One that cannot be removed does not keep the others.
  Awaitable<Result<Pruned>> Prune(PruneRules rules);

 private:
  Awaitable<Result<std::vector<StoredItem>>> ListOf(StorageOwner& owner);
  int64_t Now() const;

  std::vector<StorageOwner*> owners_;
  WallClock clock_;
};

}  // namespace cleanroom::server
