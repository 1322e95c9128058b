#include "repository/layer_use.h"

namespace cleanroom::repository {

std::string Fact(const layers::LayerRecord& record, const std::string& name) {
  const auto it = record.notes.facts.find(name);
  return it == record.notes.facts.end() ? std::string() : it->second;
}

std::set<layers::LayerId> LayersOf(const std::vector<layers::LayerRecord>& all,
                                   const std::set<NeededCommit>& needed) {
  std::set<std::string> mirrors;
  for (const NeededCommit& commit : needed) mirrors.insert(commit.mirror);
  std::set<layers::LayerId> out;
  for (const layers::LayerRecord& record : all) {
    const std::string mirror = Fact(record, "mirror");
    if (record.id.kind == kObjectsKind && mirrors.contains(mirror)) out.insert(record.id);
    if (record.id.kind != kWorkTreeKind || !needed.contains({mirror, Fact(record, "commit")}))
      continue;
    out.insert(record.id);
    // Two repositories with the same packs share a layer, which tells of the first of them alone.
    out.insert({kObjectsKind, Fact(record, "objects")});
    const std::string submodules = Fact(record, "submodules");
    if (!submodules.empty()) out.insert({kSubmodulesKind, submodules});
    const std::string base = Fact(record, "base");
    if (!base.empty()) out.insert({kWorkTreeKind, base});
  }
  return out;
}

}  // namespace cleanroom::repository
