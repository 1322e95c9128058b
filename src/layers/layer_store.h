// The layers this host has: one folder each, `layers/<kind>/<key>/` in the cache folder, holding
//   layer.ext4  the layer, read-only (0444), shared by all sandboxes that need it
//   layer.json  the record; its time of modification is when the layer was last used
// and whatever else its maker keeps beside it.
//
// A layer is there whole or not at all: it is made under tmp/ and renamed into place. What a killed
// process left in tmp/ goes when a store is next opened. Any number of threads and processes may
// use one folder; of those that make the same layer one works and the others wait for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "os/scratch.h"

namespace cleanroom::layers {

// Which layer: both become parts of a path.
struct LayerId {
  std::string kind;  // 1 to 32 of a-z and '-', as "work-tree"
  std::string key;   // 64 lower-case hexadecimal digits: the hash of all that it is made of
  bool operator==(const LayerId&) const = default;
  auto operator<=>(const LayerId&) const = default;
};

// What its maker says of a layer.
struct LayerNotes {
  std::string of;                              // for people: what it is the layer of
  std::map<std::string, std::string> facts{};  // for its maker's own later use
};

struct LayerRecord {
  LayerId id;
  LayerNotes notes;
  uint64_t disk_bytes = 0;  // room that all its files take on the host
  int64_t made_at = 0;      // seconds since 1970
  int64_t last_used = 0;    // the same; not in the file

  std::filesystem::path folder{};  // absolute; not in the file
  std::filesystem::path file() const { return folder / "layer.ext4"; }
};

class LayerStore {
 public:
  // Makes the folders.
  static Result<LayerStore> Open(const std::filesystem::path& cache_folder);

  // A layer that is there. Does not count as a use.
  std::optional<LayerRecord> Find(const LayerId& id) const;
  // Counts as a use, so that Prune leaves the layer alone for a while.
  std::optional<LayerRecord> Use(const LayerId& id) const;

  // Makes layer.ext4, and what is to lie beside it, in the folder it is given.
  using Builder = std::function<Result<LayerNotes>(const std::filesystem::path& folder)>;
  struct Made {
    LayerRecord record;
    bool now = false;  // by this call
  };
  // The layer, made by `builder` if it is not there. Counts as a use. Errors of the builder pass
  // through and leave nothing; resource_exhausted when the disk is full.
  Result<Made> Make(const LayerId& id, const Builder& builder, const std::stop_token& stop) const;

  // Sorted by kind and key; of one kind when it is given. Without those that have no readable
  // record.
  std::vector<LayerRecord> List(std::string_view kind = {}) const;

  using InUseFn = std::function<bool(const LayerRecord&)>;
  // failed_precondition when `in_use` says so (asked under the layer's lock); not_found.
  Result<LayerRecord> Remove(const LayerId& id, const InUseFn& in_use,
                             const std::stop_token& stop) const;
  // Removes what is not in use and was not used for `unused_for`; answers what went. A layer that
  // has just been handed out is used, if not yet by a sandbox that `in_use` can know: the time is at
  // least a minute.
  Result<std::vector<LayerRecord>> Prune(std::chrono::seconds unused_for, const InUseFn& in_use,
                                         const std::stop_token& stop) const;

 private:
  explicit LayerStore(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::filesystem::path Folder(const LayerId& id) const;
  Result<os::StoppableLock> Lock(const LayerId& id, const std::stop_token& stop) const;
  Result<LayerRecord> Commit(const LayerId& id, LayerNotes notes,
                             const os::TempFolder& built) const;
  Result<void> TakeAway(const LayerRecord& record) const;

  std::filesystem::path folder_;
};

// layer.json.
std::string RecordToJson(const LayerRecord& record);
Result<LayerRecord> RecordFromJson(std::string_view json);

}  // namespace cleanroom::layers
