// One thing that lies in the daemon's folders, and whether it may go.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace cleanroom::server {

inline constexpr std::string_view kMirrorKind = "mirror";

// By what pruning a thing goes, if nobody uses it.
enum class Pruning { kNever, kAlways, kWithAll };

struct StoredItem {
  std::string_view kind;  // "image", "template", …: for people, and how they are grouped
  std::string name;       // for people
  std::string id;         // an image's digest; else the name
  std::string remote{};   // of a mirror, and of what is made of one that is here: its identity
  std::filesystem::path path;
  uint64_t bytes = 0;      // room that it takes on the host
  int64_t made_at = 0;     // seconds since 1970; 0 where it is not known
  int64_t used_at = 0;     // the same, as far as it is known; else made_at
  int64_t fetched_at = 0;  // the same, of a mirror
  bool in_use = false;
  Pruning pruning = Pruning::kNever;
  // Of kAlways: goes only when it was not used for so long, unless all go or an age is given.
  std::chrono::seconds keep_unused{0};
};

struct PruneRules {
  enum class What { kTemplates, kAll, kMirrors };
  What what = What::kTemplates;
  std::string remote{};                // of kMirrors: only that of this remote; empty: all
  std::chrono::seconds older_than{0};  // not used for so long
};

// Pure. A time of use that lies in the future counts as now.
bool IsPruned(const StoredItem& item, const PruneRules& rules, int64_t now);

// Room that a file, or a folder with what it holds, takes on the host. What vanishes meanwhile
// counts nothing; symbolic links are not followed.
uint64_t RoomTaken(const std::filesystem::path& path);
// The items with `bytes` set.
std::vector<StoredItem> MeasureRoom(std::vector<StoredItem> items);

// What lies at the path, by that name.
StoredItem ItemAt(std::string_view kind, const std::filesystem::path& path, std::string name);

// One for each entry of the folder, which may be missing.
void AddEntries(std::vector<StoredItem>& items, std::string_view kind,
                const std::filesystem::path& folder, const std::string& prefix = "");

}  // namespace cleanroom::server
