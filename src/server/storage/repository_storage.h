// What repositories keep on this host: LayerStorage has the work trees and objects that sandboxes
// mount, MirrorStorage the mirrors that those are made of, BundleStorage the commits that no remote has.
//
// In use is what belongs to the checkout of a live sandbox, and a layer that was handed out a moment
// ago. While it is not known which sandboxes live, all of it counts as used.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "git/mirror_store.h"
#include "layers/layer_store.h"
#include "repository/bundle_store.h"
#include "repository/layer_use.h"
#include "server/sandboxes/sandboxes.h"
#include "server/storage/storage.h"

namespace cleanroom::server {

// A checkout of a large repository takes minutes, and what it is made of is needed to its end.
inline constexpr std::chrono::minutes kJustHandedOut{10};
// A work tree that nobody used for so long goes with the next prune.
inline constexpr std::chrono::hours kKeepLayers{7 * 24};

// The commits in live sandboxes; nothing when that is not known.
std::optional<std::set<repository::NeededCommit>> CommitsInUse(const Sandboxes& sandboxes,
                                                               const git::MirrorStore& mirrors);

class LayerStorage : public StorageOwner {
 public:
  // All of it outlives this.
  LayerStorage(const layers::LayerStore& layers, const git::MirrorStore& mirrors,
               const Sandboxes& sandboxes, BlockingPool& pool, WallClock clock)
      : layers_(layers),
        mirrors_(mirrors),
        sandboxes_(sandboxes),
        pool_(pool),
        clock_(std::move(clock)) {}

  Awaitable<Result<std::vector<StoredItem>>> List() override;
  Awaitable<Result<void>> Remove(StoredItem item) override;

 private:
  int64_t Now() const { return std::chrono::system_clock::to_time_t(clock_()); }

  const layers::LayerStore& layers_;
  const git::MirrorStore& mirrors_;
  const Sandboxes& sandboxes_;
  BlockingPool& pool_;
  WallClock clock_;
};

// The bundles of local commits (repository/bundle_store.h). They go as soon as no sandbox has them.
class BundleStorage : public StorageOwner {
 public:
  // All of it outlives this.
  BundleStorage(const repository::BundleStore& bundles, const Sandboxes& sandboxes,
                BlockingPool& pool, WallClock clock)
      : bundles_(bundles), sandboxes_(sandboxes), pool_(pool), clock_(std::move(clock)) {}

  Awaitable<Result<std::vector<StoredItem>>> List() override;
  Awaitable<Result<void>> Remove(StoredItem item) override;

 private:
  bool InUse(const StoredItem& item) const;

  const repository::BundleStore& bundles_;
  const Sandboxes& sandboxes_;
  BlockingPool& pool_;
  WallClock clock_;
};

class MirrorStorage : public StorageOwner {
 public:
  // All of it outlives this.
  MirrorStorage(const git::MirrorStore& mirrors, const Sandboxes& sandboxes, BlockingPool& pool)
      : mirrors_(mirrors), sandboxes_(sandboxes), pool_(pool) {}

  Awaitable<Result<std::vector<StoredItem>>> List() override;
  Awaitable<Result<void>> Remove(StoredItem item) override;

 private:
  const git::MirrorStore& mirrors_;
  const Sandboxes& sandboxes_;
  BlockingPool& pool_;
};

}  // namespace cleanroom::server
