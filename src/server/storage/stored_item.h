// What lies in the daemon's folders, thing by thing, and which of it may go.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "server/layout.h"

namespace cleanroom::server {

enum class StoredKind {
  kImage,
  kTemplate,
  kKernel,
  kSandbox,
  kExecution,
  kAudit,
  kRecords,
  kCache
};
// "image", "template", ...
std::string_view ToString(StoredKind kind);

// By what pruning a thing goes, if nobody uses it.
enum class Pruning { kNever, kAlways, kWithAll };

struct StoredItem {
  StoredKind kind = StoredKind::kCache;
  std::string name;        // for people
  std::string id;          // an image's digest; else the name
  std::string shape = {};  // of a template: the key of its inputs without the image's file
  std::filesystem::path path;
  uint64_t bytes = 0;   // room that it takes on the host
  int64_t made_at = 0;  // seconds since 1970
  int64_t used_at = 0;  // the same, as far as it is known; else made_at
  bool in_use = false;
  Pruning pruning = Pruning::kNever;
};

struct PruneRules {
  enum class What { kTemplates, kAll };
  What what = What::kTemplates;
  std::chrono::seconds older_than{0};  // not used for so long
};

// Pure. A time of use that lies in the future counts as now.
bool IsPruned(const StoredItem& item, const PruneRules& rules, int64_t now);

// Room that a file, or a folder with what it holds, takes on the host. What vanishes meanwhile
// counts nothing; symbolic links are not followed.
uint64_t RoomTaken(const std::filesystem::path& path);

// Everything but images and templates, whose stores know them: live sandboxes, kept output, the
// audit log, the records; kernels and caches, with how they are pruned. Nothing is marked as in
// use. Blocks.
std::vector<StoredItem> ScanFolders(const Layout& layout, const std::filesystem::path& state_dir,
                                    const std::filesystem::path& cache_dir, int64_t now);

}  // namespace cleanroom::server
