#include "repository/submodule_layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include "base/sha256/sha256.h"
#include "os/scratch.h"
#include "repository/objects.h"

namespace cleanroom::repository {
namespace {

// Changes when other bytes are made of the same submodules.
constexpr const char* kSubmodulesFormat = "submodules 1";

// The way up from a folder to the top of the work tree.
std::string WayUp(std::string_view folder) {
  std::string out;
  for (auto parts = std::ranges::count(folder, '/') + 1; parts > 0; --parts) out += "../";
  return out;
}

// One of them while it is made.
struct Part {
  os::TempFolder packs;
  WorkTreePlan plan;
  std::unique_ptr<git::Mirror> mirror;
  std::unique_ptr<WorkTreeBuilder> builder;
};

class SubmodulesBuilder {
 public:
  SubmodulesBuilder(const git::MirrorStore& mirrors, const layers::LayerStore& layers,
                    const SubmodulesPlan& plan, const git::Control& control)
      : mirrors_(mirrors), layers_(layers), plan_(plan), control_(control) {}

  Result<WorkTreeCounts> Build(const std::filesystem::path& folder) {
    for (size_t i = 0; i < plan_.submodules.size(); ++i) CR_TRY(Begin(i, folder));
    CR_TRY_ASSIGN(LayerFile layer, LayerFile::Create(folder / "layer.ext4", plan_.limits));
    int64_t mtime = 1;
    for (size_t i = 0; i < parts_.size(); ++i) {
      const Submodule& one = plan_.submodules[i];
      CR_TRY(parts_[i]->builder->AddTo(layer));
      CR_TRY(layer.AddFile(one.path + "/.git",
                           fmt::format("gitdir: {}{}\n", WayUp(one.path), one.git_dir)));
      mtime = std::max(mtime, parts_[i]->builder->commit_time());
    }
    const std::vector<uint32_t> numbers = layer.Numbers();
    LayerFile::Stamp stamp{
        .owner = plan_.owner, .mtime = mtime, .later = {}, .later_mtime = mtime + kIndexLater};
    WorkTreeCounts counts;
    for (const auto& part : parts_) {
      CR_TRY_ASSIGN(const auto done, part->builder->Complete(layer, numbers, mtime));
      stamp.later.push_back(done.node);
      counts.files += part->builder->counts().files;
      counts.bytes += part->builder->counts().bytes;
      counts.lfs_pointers += part->builder->counts().lfs_pointers;
    }
    CR_TRY(layer.Finish(stamp, plan_.identity));
    return counts;
  }

 private:
  // Packs its history, and reads its commit.
  Result<void> Begin(size_t i, const std::filesystem::path& folder) {
    const Submodule& one = plan_.submodules[i];
    CR_TRY_ASSIGN(os::TempFolder packs, os::TempFolder::Create(plan_.scratch));
    auto part = std::make_unique<Part>(
        Part{.packs = std::move(packs), .plan = {}, .mirror = {}, .builder = {}});
    part->mirror = std::make_unique<git::Mirror>(mirrors_.git(), one.resolved.mirror);
    WorkTreePlan& plan = part->plan;
    CR_TRY_ASSIGN(plan.refs, part->mirror->Refs(control_));
    std::vector<std::string> wanted = {one.resolved.commit};
    for (const git::Ref& ref : plan.refs) wanted.push_back(ref.id);
    plan.packs = part->packs.path();
    const Objects objects(mirrors_, layers_, *part->mirror, control_);
    CR_TRY_ASSIGN(plan.pack_files, objects.PackRest({}, *part->mirror, wanted, plan.packs));
    plan.git_folder = {.commit = one.resolved.commit,
                       .branch = {},
                       .default_branch = one.resolved.default_branch,
                       .origin = one.origin,
                       .object_format = one.resolved.object_format};
    for (const Submodule& other : plan_.submodules) {
      if (other.parent == i + 1) plan.git_folder.submodules.push_back({other.name, other.origin});
    }
    plan.git_folder.work_tree = WayUp(one.git_dir) + one.path;
    plan.owner = plan_.owner;
    plan.limits = plan_.limits;
    plan.prefix = one.path + "/";
    plan.git_dir = one.git_dir;
    plan.progress = plan_.progress;
    part->builder = std::make_unique<WorkTreeBuilder>(*part->mirror, part->plan, control_);
    CR_TRY(part->builder->Begin(folder));
    parts_.push_back(std::move(part));
    return {};
  }

  const git::MirrorStore& mirrors_;
  const layers::LayerStore& layers_;
  const SubmodulesPlan& plan_;
  const git::Control& control_;
  std::vector<std::unique_ptr<Part>> parts_;
};

}  // namespace

std::string SubmodulesKey(const std::vector<Submodule>& submodules, const Owner& owner) {
  const std::string owners = fmt::format("{}:{}", owner.uid, owner.gid);
  std::vector<std::string> words = {kSubmodulesFormat, owners};
  for (const Submodule& one : submodules) {
    words.insert(words.end(),
                 {one.path, one.git_dir, one.origin, one.resolved.mirror.stem().string(),
                  one.resolved.commit, one.resolved.default_branch});
  }
  std::vector<std::string_view> parts(words.begin(), words.end());
  return Sha256OfParts(parts);
}

Result<WorkTreeCounts> BuildSubmodules(const git::MirrorStore& mirrors,
                                       const layers::LayerStore& layers, const SubmodulesPlan& plan,
                                       const std::filesystem::path& folder,
                                       const git::Control& control) {
  return SubmodulesBuilder(mirrors, layers, plan, control).Build(folder);
}

}  // namespace cleanroom::repository
