#include "repository/objects.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/sha256/sha256.h"
#include "git/ref_name.h"
#include "os/file.h"

namespace cleanroom::repository {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxTipsBytes = 64u << 20;
constexpr const char* kTips = "tips";
constexpr std::chrono::hours kRepackTimeout{1};

bool IsPackFile(const fs::path& path) {
  const std::string extension = path.extension().string();
  return path.filename().string().starts_with("pack-") &&
         (extension == ".pack" || extension == ".idx" || extension == ".rev");
}

// Sorted names of the packs' files in a folder.
std::vector<std::string> PackFiles(const fs::path& folder) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (IsPackFile(it->path())) out.push_back(it->path().filename().string());
  }
  std::ranges::sort(out);
  return out;
}

bool HasLooseObjects(const fs::path& objects) {
  std::error_code error;
  for (fs::directory_iterator it(objects, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.size() == 2 && name.find_first_not_of("0123456789abcdef") == std::string::npos)
      return true;
  }
  return false;
}

std::vector<std::string> Ids(const std::string& text) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string id = text.substr(begin, end - begin);
    if (git::IsFullId(id)) out.push_back(std::move(id));
    begin = end + 1;
  }
  return out;
}

// Beside the mirror: the key of its current generation.
fs::path CurrentFile(const fs::path& mirror) {
  fs::path out = mirror;
  return out.replace_extension("generation");
}

}  // namespace

Result<Generation> Objects::Read(layers::LayerRecord record, bool made_now) const {
  CR_TRY_ASSIGN(const std::string tips, os::ReadFile(record.folder / kTips, kMaxTipsBytes));
  return Generation{std::move(record), Ids(tips), made_now};
}

Result<Generation> Objects::Current(const GenerationRules& rules) const {
  if (const Result<std::string> key = os::ReadFile(CurrentFile(mirror_.path()), 100)) {
    if (std::optional<layers::LayerRecord> record = layers_.Use({kObjectsKind, *key})) {
      Result<Generation> generation = Read(std::move(*record), /*made_now=*/false);
      if (generation) return generation;
    }
  }
  return Renew(rules);
}

Result<std::string> Objects::AllTips() const {
  return mirror_.git().Local({.args = {"for-each-ref", "--format=%(objectname)"},
                              .git_dir = mirror_.path(),
                              .max_output = kMaxTipsBytes},
                             control_);
}

// Packs that were fetched one by one are stored once; nobody else changes the mirror meanwhile. What
// no branch reaches (any more) stays: somebody may just have resolved it.
Result<void> Objects::OnePack() const {
  const fs::path objects = mirror_.path() / "objects";
  const auto packs = PackFiles(objects / "pack");
  const auto count =
      std::ranges::count_if(packs, [](const std::string& name) { return name.ends_with(".pack"); });
  if (count <= 1 && !HasLooseObjects(objects)) return {};
  CR_TRY(mirror_.git().Local({.args = {"repack", "-a", "-d", "-k", "-q"},
                              .git_dir = mirror_.path(),
                              .timeout = kRepackTimeout},
                             control_));
  return {};
}

Result<Generation> Objects::Renew(const GenerationRules& rules) const {
  CR_TRY_ASSIGN(const os::StoppableLock lock, mirrors_.Lock(mirror_.path(), control_.stop));
  CR_TRY(OnePack());
  CR_TRY_ASSIGN(const std::string tips, AllTips());
  const fs::path packs = mirror_.path() / "objects" / "pack";
  const std::vector<std::string> names = PackFiles(packs);
  std::vector<std::string_view> parts = {"objects 1"};
  parts.insert(parts.end(), names.begin(), names.end());
  const std::string key = Sha256OfParts(parts);
  const auto build = [&](const fs::path& folder) -> Result<layers::LayerNotes> {
    CR_TRY_ASSIGN(LayerFile layer, LayerFile::Create(folder / "layer.ext4", rules.limits));
    CR_TRY(layer.AddFolder(".git/objects/pack"));
    for (const std::string& name : names)
      CR_TRY(layer.CopyFile(".git/objects/pack/" + name, packs / name, 0444));
    CR_TRY(layer.Finish({.owner = {}, .mtime = 1}, key));
    CR_TRY(os::WriteFileAtomic(folder / kTips, tips, 0644));
    return layers::LayerNotes{.of = "objects of a repository",
                              .facts = {{"mirror", mirror_.path().stem().string()}}};
  };
  CR_TRY_ASSIGN(layers::LayerStore::Made made,
                layers_.Make({kObjectsKind, key}, build, control_.stop));
  CR_TRY(os::WriteFileAtomic(CurrentFile(mirror_.path()), key, 0644));
  return Read(std::move(made.record), made.now);
}

Result<std::vector<std::string>> Objects::PackRest(const Generation& generation,
                                                   const git::Mirror& source,
                                                   const std::vector<std::string>& wanted,
                                                   const fs::path& folder) const {
  // A tip that the mirror no longer has bounds nothing, and git would refuse it.
  std::string asked;
  for (const std::string& id : generation.tips) asked += id + "\n";
  CR_TRY_ASSIGN(const std::string known,
                mirror_.git().Local({.args = {"cat-file", "--batch-check=%(objectname)"},
                                     .git_dir = source.path(),
                                     .input = asked,
                                     .max_output = 2 * kMaxTipsBytes},
                                    control_));
  std::string revisions;
  for (const std::string& id : wanted) revisions += id + "\n";
  for (const std::string& id : Ids(known)) revisions += "^" + id + "\n";
  CR_TRY(mirror_.git().Local({.args = {"pack-objects", "--revs", "--delta-base-offset",
                                       "--non-empty", "-q", (folder / "pack").string()},
                              .git_dir = source.path(),
                              .input = revisions,
                              .timeout = kRepackTimeout},
                             control_));
  return PackFiles(folder);
}

bool Objects::IsTooMuch(const Generation& generation, const fs::path& folder,
                        const GenerationRules& rules) {
  uint64_t bytes = 0;
  std::error_code error;
  for (const std::string& name : PackFiles(folder)) bytes += fs::file_size(folder / name, error);
  return bytes > rules.least_pack_bytes &&
         bytes > generation.record.disk_bytes / 100 * rules.percent;
}

}  // namespace cleanroom::repository
