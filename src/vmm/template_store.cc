#include "vmm/template_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/sha256/sha256.h"
#include "document/bounded_json.h"
#include "os/file.h"

namespace cleanroom::vmm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Raised when what a template contains changes without its inputs changing.
constexpr int kFormat = 3;
constexpr size_t kMaxState = 64 << 20;
constexpr size_t kMaxManifest = 64 << 10;
constexpr size_t kKeyLength = 64;
constexpr size_t kReadBytes = 1 << 20;
constexpr off_t kPageBytes = 4096;
constexpr const char* kMemory = "memory";
constexpr const char* kState = "state";
constexpr const char* kDisk = "disk.img";

bool IsKey(std::string_view text) {
  return text.size() == kKeyLength && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Template At(const std::string& folder, const std::string& key) {
  return {.key = key,
          .folder = folder,
          .memory_file = fmt::format("{}/{}", folder, kMemory),
          .state_file = fmt::format("{}/{}", folder, kState),
          .disk_file = fmt::format("{}/{}", folder, kDisk)};
}

std::string ManifestOf(const Template& at) { return at.folder + "/manifest.json"; }

Result<struct stat> Stat(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) {
    return ErrErrno(ErrorCode::kDataCorrupt, fmt::format("look at {}", path));
  }
  return info;
}

// What tells one version of a file from another without reading it. Nobody can set the time of a
// change of status (st_ctim).
Result<Json> Identity(const std::string& path) {
  CR_TRY_ASSIGN(const auto info, Stat(path));
  return Json{{"size", info.st_size},
              {"inode", info.st_ino},
              {"changed", fmt::format("{}.{:09}", info.st_ctim.tv_sec, info.st_ctim.tv_nsec)}};
}

// Adds to a digest, of pages in rising order, those that are not zeros alone, with their places.
class PageDigest {
 public:
  // `bytes` are of the file at `at`, a multiple of the page size.
  void Add(off_t at, std::string_view bytes) {
    while (!bytes.empty()) {
      const std::string_view page = bytes.substr(0, kPageBytes);
      if (page.find_first_not_of('\0') != std::string_view::npos) {
        if (at != next_) hash_.Add(std::to_string(at) + ":");
        hash_.Add(page);
        next_ = at + static_cast<off_t>(page.size());
      }
      at += static_cast<off_t>(page.size());
      bytes.remove_prefix(page.size());
    }
  }
  std::string Finish() { return hash_.Finish(); }

 private:
  Sha256 hash_;
  off_t next_ = -1;  // where the last page added ends
};

// SHA-256 of what a sparse file contains. Where its holes are does not count: on a tmpfs a page of
// one that is read through a mapping, as by every copy, becomes a page of zeros.
Result<std::string> DataDigest(const std::string& path) {
  CR_TRY_ASSIGN(const os::UniqueFd file, os::Open(path, O_RDONLY));
  PageDigest digest;
  std::string buffer(kReadBytes, '\0');
  off_t end = 0;
  for (;;) {
    off_t at = lseek(file.get(), end, SEEK_DATA);
    if (at < 0 && errno == ENXIO) break;
    if (at < 0) return ErrErrno(ErrorCode::kInternal, fmt::format("read {}", path));
    end = lseek(file.get(), at, SEEK_HOLE);
    if (end < 0) return ErrErrno(ErrorCode::kInternal, fmt::format("read {}", path));
    at -= at % kPageBytes;
    while (at < end) {
      const auto want = std::min<size_t>(buffer.size(), static_cast<size_t>(end - at));
      CR_TRY_ASSIGN(const size_t n, os::ReadAt(file.get(), buffer.data(), want, at, path));
      digest.Add(at, std::string_view(buffer).substr(0, n));
      if (n == 0) return Err(ErrorCode::kDataCorrupt, fmt::format("{} became shorter", path));
      at += static_cast<off_t>(n);
    }
  }
  return digest.Finish();
}

// What a glance can tell.
Result<Json> Describe(const Template& made) {
  CR_TRY_ASSIGN(Json memory, Identity(made.memory_file));
  CR_TRY_ASSIGN(Json disk, Identity(made.disk_file));
  CR_TRY_ASSIGN(const std::string state, os::ReadFile(made.state_file, kMaxState));
  return Json{
      {"memory", std::move(memory)}, {"disk", std::move(disk)}, {"state", Sha256Hex(state)}};
}

Result<Json> Digests(const Template& made) {
  CR_TRY_ASSIGN(const std::string memory, DataDigest(made.memory_file));
  CR_TRY_ASSIGN(const std::string disk, DataDigest(made.disk_file));
  return Json{{"memory", memory}, {"disk", disk}};
}

Json ToJson(const TemplateInputs& inputs) {
  return {{"image", inputs.image_digest},    {"image_file", inputs.image_file},
          {"machine", inputs.machine},       {"vcpus", inputs.vcpus},
          {"memory_mib", inputs.memory_mib}, {"disk_mib", inputs.disk_mib}};
}

TemplateInputs FromJson(const Json& json) {
  return {.image_digest = json.value("image", ""),
          .image_file = json.value("image_file", ""),
          .machine = json.value("machine", ""),
          .vcpus = json.value("vcpus", 0),
          .memory_mib = json.value("memory_mib", int64_t{0}),
          .disk_mib = json.value("disk_mib", int64_t{0})};
}

Result<Json> ReadManifest(const Template& at) {
  CR_TRY_ASSIGN(const std::string text, os::ReadFile(ManifestOf(at), kMaxManifest));
  Json manifest = document::ParseBoundedJson(text);
  if (!manifest.is_object() || !manifest.contains("inputs") || !manifest["inputs"].is_object()) {
    return Err(ErrorCode::kDataCorrupt, fmt::format("{} is no manifest", ManifestOf(at)));
  }
  return manifest;
}

Result<void> Compare(const Json& manifest, const char* what, const Json& now,
                     const Template& found) {
  const auto then = manifest.find(what);
  if (then != manifest.end() && *then == now) return {};
  return Err(ErrorCode::kDataCorrupt,
             fmt::format("the template {} is not as it was made", found.folder));
}

Result<void> Check(const Template& found) {
  CR_TRY_ASSIGN(const Json manifest, ReadManifest(found));
  CR_TRY_ASSIGN(const Json now, Describe(found));
  return Compare(manifest, "files", now, found);
}

Result<void> Rename(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return {};
  return ErrErrno(ErrorCode::kInternal, fmt::format("move {} to {}", from, to));
}

Result<void> Seal(const std::string& path) {
  CR_TRY_ASSIGN(const os::UniqueFd file, os::Open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  struct stat info = {};
  if (fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return Err(ErrorCode::kDataCorrupt, fmt::format("{} is no plain file", path));
  }
  if (fchown(file.get(), geteuid(), getegid()) != 0 || fchmod(file.get(), 0444) != 0) {
    return ErrErrno(ErrorCode::kInternal, fmt::format("seal {}", path));
  }
  return {};
}

}  // namespace

std::string TemplateKey(const TemplateInputs& inputs) {
  const std::string format = std::to_string(kFormat);
  const std::string vcpus = std::to_string(inputs.vcpus);
  const std::string memory = std::to_string(inputs.memory_mib);
  const std::string disk = std::to_string(inputs.disk_mib);
  return Sha256OfParts(
      {format, inputs.image_digest, inputs.image_file, inputs.machine, vcpus, memory, disk});
}

std::string ImageFileIdentity(const std::string& path) {
  const auto info = Stat(path);
  if (!info) return "";
  return fmt::format("{} {} {}.{:09}", info->st_ino, info->st_size, info->st_mtim.tv_sec,
                     info->st_mtim.tv_nsec);
}

std::string MachineIdentity(const std::string& verdict_key, const std::string& initrd,
                            const std::string& accelerator) {
  return Sha256OfParts({verdict_key, initrd, accelerator});
}

Result<std::optional<Template>> TemplateStore::Find(const TemplateInputs& inputs) const {
  const std::string key = TemplateKey(inputs);
  Template found = At(folder_ + "/" + key, key);
  if (access(found.folder.c_str(), F_OK) != 0) return std::nullopt;
  if (Check(found)) return found;
  CR_TRY(Remove(key));
  return std::nullopt;
}

Result<void> TemplateStore::Verify(const Template& found) const {
  CR_TRY_ASSIGN(const Json manifest, ReadManifest(found));
  CR_TRY_ASSIGN(const Json now, Digests(found));
  return Compare(manifest, "digests", now, found);
}

Result<Template> TemplateStore::Add(const TemplateInputs& inputs, const std::string& from) const {
  const std::string key = TemplateKey(inputs);
  CR_TRY(os::MakeDirs(folder_));
  CR_TRY_ASSIGN(os::TempDir draft, os::TempDir::Create(folder_));
  const Template source = At(from, key);
  Template made = At(draft.path(), key);
  CR_TRY(Rename(source.memory_file, made.memory_file));
  CR_TRY(Rename(source.state_file, made.state_file));
  CR_TRY(Rename(source.disk_file, made.disk_file));
  // Nobody is to write there again. Whoever gets to see the folder may read what copies need: their
  // users differ from the one that made it.
  for (const std::string& file : {made.memory_file, made.state_file, made.disk_file}) {
    CR_TRY(Seal(file));
  }
  if (chmod(draft.path().c_str(), 0755) != 0) {
    return ErrErrno(ErrorCode::kInternal, "seal a template");
  }
  CR_TRY_ASSIGN(Json digests, Digests(made));
  CR_TRY_ASSIGN(Json files, Describe(made));
  const Json manifest = {
      {"inputs", ToJson(inputs)}, {"files", std::move(files)}, {"digests", std::move(digests)}};
  CR_TRY(os::WriteFileAtomic(ManifestOf(made), manifest.dump() + "\n"));
  // Not synced: a host that loses power boots anew, and its templates are then stale.
  Template placed = At(folder_ + "/" + key, key);
  CR_TRY(Remove(key));
  CR_TRY(Rename(draft.path(), placed.folder));
  (void)draft.Keep();
  return placed;
}

Result<std::vector<TemplateStore::Entry>> TemplateStore::List() const {
  std::vector<Entry> entries;
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    Entry entry{.key = it->path().filename(), .inputs = {}};
    const Template at = At(it->path(), entry.key);
    if (!IsKey(entry.key)) continue;
    auto manifest = ReadManifest(at);
    if (!manifest) continue;
    entry.inputs = FromJson((*manifest)["inputs"]);
    for (const std::string& path : {at.memory_file, at.state_file, at.disk_file}) {
      auto info = Stat(path);
      if (!info) continue;
      constexpr uint64_t kBlock = 512;  // of st_blocks, stat(2)
      entry.disk_bytes += static_cast<uint64_t>(info->st_blocks) * kBlock;
    }
    auto written = Stat(ManifestOf(at));
    if (written) {
      entry.made_at = written->st_mtim.tv_sec;
      entry.used_at = written->st_atim.tv_sec;
    }
    entries.push_back(std::move(entry));
  }
  std::ranges::sort(entries, {}, &Entry::key);
  return entries;
}

void TemplateStore::Touch(const Template& used) const {
  const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_NOW},
                             {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
  (void)utimensat(AT_FDCWD, ManifestOf(used).c_str(), times, 0);
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

Result<size_t> TemplateStore::RemoveStale(const std::string& machine) const {
  size_t removed = 0;
  std::error_code error;
  std::vector<fs::path> stale;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    auto manifest = ReadManifest(At(it->path(), name));
    const bool good = IsKey(name) && manifest &&
                      TemplateKey(FromJson((*manifest)["inputs"])) == name &&
                      FromJson((*manifest)["inputs"]).machine == machine;
    if (!good) stale.push_back(it->path());
  }
  for (const fs::path& path : stale) {
    fs::remove_all(path, error);
    if (error) {
      return Err(ErrorCode::kInternal,
                 fmt::format("remove {}: {}", path.string(), error.message()));
    }
    ++removed;
  }
  return removed;
}

}  // namespace cleanroom::vmm
