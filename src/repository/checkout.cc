#include "repository/checkout.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/sha256/sha256.h"
#include "git/mirror.h"
#include "git/ref_name.h"
#include "os/scratch.h"
#include "repository/layer_use.h"
#include "repository/objects.h"
#include "repository/submodule_layer.h"
#include "repository/work_tree.h"

namespace cleanroom::repository {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFormat =
    "work tree 1";                // changes when other bytes are made of the same commit
constexpr size_t kMostBases = 3;  // that are compared with a commit

uint64_t Number(const layers::LayerRecord& record, const std::string& name) {
  const std::string text = Fact(record, name);
  uint64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

struct Base {
  layers::LayerRecord record;
  Difference difference;
};

class Checkout {
 public:
  Checkout(const git::MirrorStore& mirrors, const layers::LayerStore& layers,
           const git::Resolved& resolved, const CheckoutOptions& options,
           const CheckoutControl& control)
      : mirrors_(mirrors),
        mirror_(mirrors.git(), resolved.mirror),
        source_(options.bundle != nullptr ? options.bundle->repository.repository() : mirror_),
        commit_(options.bundle != nullptr ? options.bundle->commit : resolved.commit),
        layers_(layers),
        resolved_(resolved),
        options_(options),
        control_(control),
        objects_(mirrors, layers, mirror_, control_.git),
        rules_{options.least_pack_for_generation, options.percent_for_generation, options.limits} {}

  Result<CheckedOut> Run() {
    CR_TRY(Check());
    Tell(Phase::kObjects, 0, 0);
    if (options_.submodules == Submodules::kCheckedOut) CR_TRY(MakeSubmodules());
    CR_TRY_ASSIGN(generation_, objects_.Current(rules_));
    const layers::LayerId id{kWorkTreeKind, Key()};
    if (std::optional<layers::LayerRecord> there = layers_.Use(id)) {
      CR_TRY_ASSIGN(std::optional<CheckedOut> whole, Whole(std::move(*there), false));
      if (whole) return std::move(*whole);
      // What it lies over is gone, so it is of no use.
      CR_TRY(layers_.Remove(id, {}, control_.git.stop));
    }
    return MakeWorkTree();
  }

 private:
  Result<void> Check() const {
    for (const char c : options_.origin) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
        return Err(ErrorCode::kInvalidArgument, "the remote's URL has a control character");
    }
    if (!git::IsFullId(commit_) ||
        (!resolved_.branch.empty() && !git::IsBranchName(resolved_.branch)))
      return Err(ErrorCode::kInvalidArgument, "not a resolved commit");
    return {};
  }

  void Tell(Phase phase, uint64_t files, uint64_t bytes) const {
    if (control_.progress) control_.progress({phase, files, bytes});
  }

  std::string BundleDigest() const {
    return options_.bundle != nullptr ? options_.bundle->digest : std::string();
  }

  std::string OwnerText() const {
    return fmt::format("{}:{}", options_.owner.uid, options_.owner.gid);
  }

  // Of all that decides about the layer's bytes but the remote's other branches and tags: those are as
  // they were when it was made.
  std::string Key() const {
    std::string upstream;
    if (const auto id = mirror_.FindRef("refs/heads/" + resolved_.branch, control_.git);
        !resolved_.branch.empty() && id && *id)
      upstream = **id;
    return Sha256OfParts({kFormat, generation_.record.id.key, commit_, BundleDigest(),
                          resolved_.branch, resolved_.default_branch, upstream, options_.origin,
                          OwnerText(), SubmodulesLayerKey()});
  }

  std::string SubmodulesLayerKey() const {
    return submodules_layer_ ? submodules_layer_->record.id.key : std::string();
  }

  // Finds them, and makes their layer; none where there are none.
  Result<void> MakeSubmodules() {
    const ParseUrlFn parse =
        options_.parse_url ? options_.parse_url
                           : [this](const std::string& text) { return mirrors_.ParseUrl(text); };
    CR_TRY_ASSIGN(const git::RemoteUrl remote, parse(options_.origin));
    CR_TRY_ASSIGN(submodules_,
                  FindSubmodules(mirrors_, source_, commit_, remote, parse, control_.git));
    if (submodules_.empty()) return {};
    SubmodulesPlan plan{.submodules = submodules_,
                        .scratch = resolved_.mirror.parent_path() / "tmp",
                        .owner = options_.owner,
                        .limits = options_.limits,
                        .identity = SubmodulesKey(submodules_, options_.owner),
                        .progress = [this](uint64_t files, uint64_t bytes) {
                          Tell(Phase::kWorkTree, files, bytes);
                        }};
    const auto build = [&](const fs::path& folder) -> Result<layers::LayerNotes> {
      CR_TRY_ASSIGN(const WorkTreeCounts counts,
                    BuildSubmodules(mirrors_, layers_, plan, folder, control_.git));
      return layers::LayerNotes{
          .of = fmt::format("submodules of {} at {}", options_.origin, commit_.substr(0, 12)),
          .facts = {{"mirror", resolved_.mirror.stem().string()},
                    {"files", std::to_string(counts.files)},
                    {"bytes", std::to_string(counts.bytes)},
                    {"lfs_pointers", std::to_string(counts.lfs_pointers)}}};
    };
    CR_TRY_ASSIGN(layers::LayerStore::Made made,
                  layers_.Make({kSubmodulesKind, plan.identity}, build, control_.git.stop));
    submodules_layer_ = CheckoutLayer{std::move(made.record), made.now};
    return {};
  }

  // All layers of a work tree layer that is there; nothing when one of them is missing.
  Result<std::optional<CheckedOut>> Whole(layers::LayerRecord record, bool made_now) const {
    CheckedOut out;
    out.files = Number(record, "files");
    out.bytes = Number(record, "bytes");
    out.lfs_pointers = Number(record, "lfs_pointers");
    if (submodules_layer_) {
      const layers::LayerRecord& of = submodules_layer_->record;
      out.files += Number(of, "files");
      out.bytes += Number(of, "bytes");
      out.lfs_pointers += Number(of, "lfs_pointers");
      out.layers.push_back(*submodules_layer_);
    }
    const std::string base = Fact(record, "base");
    out.layers.push_back({std::move(record), made_now});
    if (!base.empty()) {
      std::optional<layers::LayerRecord> below = layers_.Use({kWorkTreeKind, base});
      if (!below) return std::nullopt;
      out.layers.push_back({std::move(*below), false});
    }
    out.layers.push_back({generation_.record, generation_.made_now});
    return out;
  }

  Result<CheckedOut> MakeWorkTree() {
    CR_TRY_ASSIGN(const os::TempFolder packs,
                  os::TempFolder::Create(resolved_.mirror.parent_path() / "tmp"));
    WorkTreePlan plan;
    CR_TRY_ASSIGN(plan.refs, mirror_.Refs(control_.git));
    CR_TRY(PackRest(plan, packs.path()));
    plan.git_folder = {commit_, resolved_.branch, resolved_.default_branch, options_.origin,
                       resolved_.object_format};
    for (const Submodule& one : submodules_) {
      if (one.parent == 0) plan.git_folder.submodules.push_back({one.name, one.origin});
    }
    plan.owner = options_.owner;
    plan.limits = options_.limits;
    plan.progress = [this](uint64_t files, uint64_t bytes) {
      Tell(Phase::kWorkTree, files, bytes);
    };
    plan.identity = Key();  // the generation may be another one now
    const layers::LayerId id{kWorkTreeKind, plan.identity};
    const std::optional<Base> base = NearestBase();
    if (base) {
      plan.base = base->record.folder;
      plan.changed = base->difference.changed;
      plan.removed = base->difference.removed;
    }
    CR_TRY_ASSIGN(layers::LayerStore::Made made,
                  layers_.Make(
                      id, [&](const fs::path& folder) { return Build(plan, base, folder); },
                      control_.git.stop));
    CR_TRY_ASSIGN(std::optional<CheckedOut> whole, Whole(std::move(made.record), made.now));
    if (!whole) return Err(ErrorCode::kUnavailable, "a layer was removed while it was needed");
    Tell(Phase::kWorkTree, whole->files, whole->bytes);
    return std::move(*whole);
  }

  Result<void> PackRest(WorkTreePlan& plan, const fs::path& folder) {
    std::vector<std::string> wanted = {commit_};
    for (const git::Ref& ref : plan.refs) wanted.push_back(ref.id);
    plan.packs = folder;
    CR_TRY_ASSIGN(plan.pack_files, objects_.PackRest(generation_, source_, wanted, folder));
    if (!Objects::IsTooMuch(generation_, folder, rules_)) return {};
    CR_TRY_ASSIGN(generation_, objects_.Renew(rules_));
    std::error_code error;
    for (const std::string& name : plan.pack_files) fs::remove(folder / name, error);
    CR_TRY_ASSIGN(plan.pack_files, objects_.PackRest(generation_, source_, wanted, folder));
    return {};
  }

  Result<layers::LayerNotes> Build(const WorkTreePlan& plan, const std::optional<Base>& base,
                                   const fs::path& folder) const {
    WorkTreeBuilder builder(source_, plan, control_.git);
    CR_TRY_ASSIGN(const WorkTreeCounts counts, builder.Build(folder));
    return layers::LayerNotes{.of = fmt::format("{} at {}", options_.origin, commit_.substr(0, 12)),
                              .facts = {{"mirror", resolved_.mirror.stem().string()},
                                        {"commit", commit_},
                                        {"bundle", BundleDigest()},
                                        {"owner", OwnerText()},
                                        {"base", base ? base->record.id.key : std::string()},
                                        {"objects", generation_.record.id.key},
                                        {"submodules", SubmodulesLayerKey()},
                                        {"files", std::to_string(counts.files)},
                                        {"bytes", std::to_string(counts.bytes)},
                                        {"lfs_pointers", std::to_string(counts.lfs_pointers)}}};
  }

  // The whole work tree, of those last used, that differs least from the commit.
  std::optional<Base> NearestBase() const {
    std::vector<layers::LayerRecord> candidates;
    for (layers::LayerRecord& record : layers_.List(kWorkTreeKind)) {
      if (Fact(record, "mirror") == resolved_.mirror.stem().string() &&
          Fact(record, "owner") == OwnerText() && Fact(record, "base").empty() &&
          Fact(record, "bundle").empty() &&
          Number(record, "files") >= options_.least_files_for_delta)
        candidates.push_back(std::move(record));
    }
    std::ranges::sort(candidates, std::greater<>(), &layers::LayerRecord::last_used);
    if (candidates.size() > kMostBases) candidates.resize(kMostBases);
    std::optional<Base> best;
    for (const layers::LayerRecord& candidate : candidates) {
      const uint64_t most =
          std::min(options_.most_changes_in_delta, Number(candidate, "files") / 4);
      Result<Difference> difference =
          Compare(source_, Fact(candidate, "commit"), commit_, most, control_.git);
      // Too many changes, or a commit that the mirror no longer has: it is no base, and no error.
      if (!difference || difference->attributes) continue;
      const auto size = [](const Difference& of) { return of.changed.size() + of.removed.size(); };
      if (best && size(best->difference) <= size(*difference)) continue;
      if (layers_.Use(candidate.id)) best = Base{candidate, std::move(*difference)};
    }
    return best;
  }

  const git::MirrorStore& mirrors_;
  git::Mirror mirror_;
  const git::Mirror& source_;  // has the commit: the mirror, or a bundle's repository over it
  const std::string commit_;
  const layers::LayerStore& layers_;
  const git::Resolved& resolved_;
  const CheckoutOptions& options_;
  const CheckoutControl& control_;
  Objects objects_;
  GenerationRules rules_;
  Generation generation_;
  std::vector<Submodule> submodules_;
  std::optional<CheckoutLayer> submodules_layer_;
};

}  // namespace

Result<CheckedOut> Checkouts::Make(const git::Resolved& resolved, const CheckoutOptions& options,
                                   const CheckoutControl& control) const {
  return Checkout(mirrors_, layers_, resolved, options, control).Run();
}

}  // namespace cleanroom::repository
