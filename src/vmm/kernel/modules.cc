#include "vmm/kernel/modules.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "os/file.h"
#include "vmm/kernel/decompress.h"
#include "vmm/kernel/elf.h"

namespace cleanroom::vmm {
namespace {

constexpr size_t kMaxBuiltinList = 4 << 20;

// "crc32c-intel.ko.xz" -> "crc32c_intel"; empty for what is no module.
std::string ModuleName(const std::string& file) {
  const size_t end = file.find(".ko");
  if (end == std::string::npos || end == 0) return "";
  const std::string suffix = file.substr(end + 3);
  if (!suffix.empty() && suffix != ".xz" && suffix != ".gz" && suffix != ".zst") return "";
  std::string name = file.substr(0, end);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::vector<std::string> Split(const std::string& text, std::string_view separators) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find_first_of(separators, begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

class Resolver {
 public:
  Resolver(std::string directory, MissingModules missing)
      : directory_(std::move(directory)), missing_(missing) {}

  Result<void> Index() {
    std::error_code error;
    using Iterator = std::filesystem::recursive_directory_iterator;
    for (Iterator it(directory_, error), end; !error && it != end; it.increment(error)) {
      if (const std::string name = ModuleName(it->path().filename()); !name.empty()) {
        files_.emplace(name, it->path());
      }
    }
    if (error) {
      return Err(ErrorCode::kNotFound, fmt::format("read {}: {}", directory_, error.message()));
    }
    auto builtin = os::ReadFile(directory_ + "/modules.builtin", kMaxBuiltinList);
    if (!builtin) return {};
    for (const std::string& line : Split(*builtin, "\n")) {
      builtin_.insert(ModuleName(line.substr(line.find_last_of('/') + 1)));
    }
    return {};
  }

  Result<void> Add(const std::string& name) {
    if (builtin_.contains(name) || !visited_.insert(name).second) return {};
    const auto file = files_.find(name);
    if (file == files_.end()) {
      if (missing_ == MissingModules::kAreBuiltIn) return {};
      return Err(ErrorCode::kFailedPrecondition,
                 fmt::format("{} has no module {}", directory_, name));
    }
    CR_TRY_ASSIGN(std::string contents, os::ReadFile(file->second, kMaxModuleBytes));
    if (!file->second.ends_with(".ko")) {
      CR_TRY_ASSIGN(contents, Decompress(contents, kMaxModuleBytes));
    }
    auto depends = ModuleInfo(contents, "depends");
    if (!depends) return Err(std::move(depends).error().Context(file->second));
    // visited_ also ends a cycle, which no kernel build makes.
    for (const std::string& dependency : Split(*depends, ",")) CR_TRY(Add(dependency));
    ordered_.push_back({name, std::move(contents)});
    return {};
  }

  std::vector<ModuleFile> Take() { return std::move(ordered_); }

 private:
  std::string directory_;
  MissingModules missing_;
  std::map<std::string, std::string> files_;
  std::set<std::string> builtin_;
  std::set<std::string> visited_;
  std::vector<ModuleFile> ordered_;
};

}  // namespace

std::vector<std::string> GuestModules() {
  return {"virtio_mmio", "virtio_console", "virtio_blk", "virtio_net", "ext4", "overlay"};
}

Result<std::vector<ModuleFile>> ResolveModules(const std::string& directory,
                                               const std::vector<std::string>& names,
                                               MissingModules missing) {
  Resolver resolver(directory, missing);
  CR_TRY(resolver.Index());
  for (const std::string& name : names) CR_TRY(resolver.Add(name));
  return resolver.Take();
}

}  // namespace cleanroom::vmm
