// Which layers of this host the checkouts of sandboxes need: pure functions of the layers' records.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "layers/layer_store.h"
#include "repository/objects.h"

namespace cleanroom::repository {

inline constexpr const char* kWorkTreeKind = "work-tree";
inline constexpr const char* kSubmodulesKind = "submodules";

// What a layer's facts say of it; empty when they do not.
std::string Fact(const layers::LayerRecord& record, const std::string& name);

// A commit in a sandbox, by git::MirrorStore::KeyOf and its full id.
struct NeededCommit {
  std::string mirror;
  std::string commit;
  auto operator<=>(const NeededCommit&) const = default;
};

// Those of `all` that they are made of. Too many rather than too few: every work tree of a commit,
// whosever and on whichever branch, with what it lies over, and all objects of its repository.
std::set<layers::LayerId> LayersOf(const std::vector<layers::LayerRecord>& all,
                                   const std::set<NeededCommit>& needed);

}  // namespace cleanroom::repository
