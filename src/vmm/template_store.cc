#include "vmm/template_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "vmm/digest.h"

namespace cleanroom::vmm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Raised when what a template contains changes without its inputs changing.
constexpr int kFormat = 1;
constexpr size_t kMaxState = 64 << 20;
constexpr size_t kMaxManifest = 64 << 10;
constexpr size_t kKeyLength = 64;

bool IsKey(std::string_view text) {
  return text.size() == kKeyLength && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Template At(const std::string& folder, const std::string& key) {
  return {.key = key, .memory_file = folder + "/memory", .state_file = folder + "/state"};
}

// What tells one version of the memory file from another without reading it.
Result<Json> Identity(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return ErrErrno(ErrorCode::kDataCorrupt, fmt::format("look at {}", path));
  }
  return Json{{"size", info.st_size},
              {"inode", info.st_ino},
              {"changed", fmt::format("{}.{:09}", info.st_mtim.tv_sec, info.st_mtim.tv_nsec)}};
}

Result<Json> Describe(const Template& made) {
  CR_TRY_ASSIGN(Json memory, Identity(made.memory_file));
  CR_TRY_ASSIGN(const std::string state, os::ReadFile(made.state_file, kMaxState));
  return Json{{"format", kFormat}, {"memory", std::move(memory)}, {"state", Sha256(state)}};
}

Result<void> Check(const std::string& folder, const Template& made) {
  CR_TRY_ASSIGN(const std::string text, os::ReadFile(folder + "/manifest.json", kMaxManifest));
  const Json manifest = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  CR_TRY_ASSIGN(const Json now, Describe(made));
  if (manifest != now) {
    return Err(ErrorCode::kDataCorrupt, fmt::format("{} is not as it was made", folder));
  }
  return {};
}

Result<void> Sync(const std::string& path, int flags) {
  CR_TRY_ASSIGN(const os::UniqueFd fd, os::Open(path, flags));
  if (fsync(fd.get()) != 0) return ErrErrno(ErrorCode::kInternal, fmt::format("sync {}", path));
  return {};
}

}  // namespace

std::string TemplateKey(const TemplateInputs& inputs) {
  const std::string format = std::to_string(kFormat);
  const std::string vcpus = std::to_string(inputs.vcpus);
  const std::string memory = std::to_string(inputs.memory_mib);
  const std::string disk = std::to_string(inputs.disk_mib);
  return Sha256({format, inputs.image_digest, inputs.kernel_digest, inputs.initrd, inputs.vmm,
                 inputs.accelerator, vcpus, memory, disk, inputs.boot_id});
}

Result<std::optional<Template>> TemplateStore::Find(const std::string& key) const {
  const std::string folder = folder_ + "/" + key;
  if (!IsKey(key) || access(folder.c_str(), F_OK) != 0) return std::nullopt;
  Template found = At(folder, key);
  if (Check(folder, found)) return found;
  CR_TRY(Remove(key));
  return std::nullopt;
}

Result<TemplateStore::Draft> TemplateStore::Begin(const std::string& key) const {
  CR_TRY(os::MakeDirs(folder_));
  CR_TRY_ASSIGN(os::TempDir folder, os::TempDir::Create(folder_));
  Template made = At(folder.path(), key);
  return Draft{.made = std::move(made), .folder = std::move(folder)};
}

Result<Template> TemplateStore::Commit(Draft draft) const {
  const std::string folder = draft.folder.path();
  CR_TRY(Sync(draft.made.memory_file, O_RDWR));
  CR_TRY(Sync(draft.made.state_file, O_RDWR));
  // Nobody is to write there again.
  if (chmod(draft.made.memory_file.c_str(), 0400) != 0) {
    return ErrErrno(ErrorCode::kInternal, "seal a template");
  }
  CR_TRY_ASSIGN(const Json manifest, Describe(draft.made));
  CR_TRY(os::WriteFileAtomic(folder + "/manifest.json", manifest.dump() + "\n"));
  const std::string place = folder_ + "/" + draft.made.key;
  if (rename(folder.c_str(), place.c_str()) != 0) {
    if (errno != ENOTEMPTY && errno != EEXIST) {
      return ErrErrno(ErrorCode::kInternal, fmt::format("make {}", place));
    }
    // Somebody else made the same one.
    return At(place, draft.made.key);
  }
  (void)draft.folder.Keep();
  CR_TRY(Sync(folder_, O_RDONLY | O_DIRECTORY));
  return At(place, draft.made.key);
}

Result<std::vector<TemplateStore::Entry>> TemplateStore::List() const {
  std::vector<Entry> entries;
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    Entry entry{.key = it->path().filename()};
    struct stat memory;
    struct stat state;
    const Template files = At(it->path(), entry.key);
    if (!IsKey(entry.key) || stat(files.memory_file.c_str(), &memory) != 0 ||
        stat(files.state_file.c_str(), &state) != 0) {
      continue;
    }
    constexpr uint64_t kBlock = 512;  // of st_blocks, stat(2)
    entry.disk_bytes = static_cast<uint64_t>(memory.st_blocks + state.st_blocks) * kBlock;
    entry.made_at = memory.st_mtim.tv_sec;
    entries.push_back(std::move(entry));
  }
  std::ranges::sort(entries, {}, &Entry::key);
  return entries;
}

Result<void> TemplateStore::Remove(const std::string& key) const {
  if (!IsKey(key)) return Err(ErrorCode::kInvalidArgument, fmt::format("{} is no template", key));
  std::error_code error;
  fs::remove_all(folder_ + "/" + key, error);
  if (error) {
    return Err(ErrorCode::kInternal,
               fmt::format("remove the template {}: {}", key, error.message()));
  }
  return {};
}

}  // namespace cleanroom::vmm
