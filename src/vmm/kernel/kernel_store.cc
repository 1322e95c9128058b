#include "vmm/kernel/kernel_store.h"

#include <fmt/format.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/sha256/sha256.h"
#include "document/bounded_json.h"
#include "os/file.h"
#include "os/process.h"
#include "vmm/kernel/decompress.h"
#include "vmm/kernel/elf.h"
#include "vmm/kernel/modules.h"

namespace cleanroom::vmm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using std::chrono::milliseconds;

// Raised when the folder's contents change: older folders are then made anew.
constexpr int kFormat = 1;
constexpr size_t kMaxManifest = 1 << 20;
constexpr char kLockName[] = "/.lock";
// Whoever holds it may be downloading.
constexpr std::chrono::minutes kLockLimit{20};
constexpr char kCustomPrefix[] = "custom-";

// Names of `directory`, newest version last.
std::vector<std::string> SortedNames(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename());
  }
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return strverscmp(a.c_str(), b.c_str()) < 0;
  });
  return names;
}

std::unexpected<Error> NoKernel(std::string_view why) {
  return Err(
      ErrorCode::kFailedPrecondition,
      fmt::format("no guest kernel: {}; run `apt-get update` once so that the package can be "
                  "downloaded, or install linux-image-cloud-amd64, or set "
                  "backends.qemu.kernel_image to a kernel with CONFIG_PVH",
                  why));
}

// Runs a helper of the distribution; its output, or failed_precondition with the end of what it
// said.
Result<std::string> Helper(const std::vector<std::string>& argv, const std::string& cwd,
                           milliseconds timeout) {
  os::RunOptions options;
  options.spawn.cwd = cwd;
  options.spawn.parent_death_signal = SIGKILL;
  options.timeout = timeout;
  auto output = os::Run(argv, options);
  if (!output) return NoKernel(output.error().message());
  if (!output->status.ok()) {
    std::string said = output->err.empty() ? output->out : output->err;
    while (!said.empty() && said.back() == '\n') said.pop_back();
    return NoKernel(fmt::format("{} {}: {}", argv[0], output->status.ToString(),
                                said.substr(said.find_last_of('\n') + 1)));
  }
  return std::move(output->out);
}

// What a process that was killed had half made; under the lock.
void RemoveDrafts(const std::string& directory) {
  std::error_code error;
  std::vector<fs::path> drafts;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().starts_with("cleanroom.")) drafts.push_back(it->path());
  }
  for (const fs::path& path : drafts) fs::remove_all(path, error);
}

// "Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)" -> the package's name.
Result<std::string> DependencyOf(const std::string& meta_package) {
  CR_TRY_ASSIGN(
      const std::string shown,
      Helper({"apt-cache", "show", "--no-all-versions", meta_package}, "", milliseconds(60'000)));
  constexpr std::string_view kField = "\nDepends: ";
  const size_t field = shown.find(kField);
  if (field == std::string::npos) return NoKernel("apt does not know " + meta_package);
  const size_t begin = field + kField.size();
  std::string name = shown.substr(begin, shown.find_first_of(" ,\n", begin) - begin);
  if (!name.starts_with("linux-image-") || name.find('/') != std::string::npos) {
    return NoKernel(fmt::format("{} depends on an unexpected package {}", meta_package, name));
  }
  return name;
}

}  // namespace

Result<Kernel> KernelStore::Load(const std::string& name) const {
  const std::string folder = config_.directory + "/" + name;
  CR_TRY_ASSIGN(const std::string text, os::ReadFile(folder + "/manifest.json", kMaxManifest));
  const Json manifest = document::ParseBoundedJson(text);
  const auto damaged = [&] {
    return Err(ErrorCode::kDataCorrupt, fmt::format("{}/manifest.json is not usable", folder));
  };
  if (!manifest.is_object() || manifest.value("format", 0) != kFormat) return damaged();
  try {
    Kernel kernel{.version = manifest.at("version").get<std::string>(),
                  .vmlinux = folder + "/vmlinux",
                  .modules = {},
                  .digest = manifest.at("vmlinux_sha256").get<std::string>(),
                  .source = manifest.at("source").get<std::string>()};
    for (const auto& module : manifest.at("modules")) {
      kernel.modules.push_back(folder + "/modules/" + module.get<std::string>() + ".ko");
    }
    return kernel;
  } catch (const Json::exception&) {
    return damaged();
  }
}

Result<std::optional<Kernel>> KernelStore::Find() const {
  std::vector<std::string> names = SortedNames(config_.directory);
  std::reverse(names.begin(), names.end());
  for (const std::string& name : names) {
    if (name.starts_with(".") || name.starts_with(kCustomPrefix)) continue;
    // A folder of another format is as good as none.
    if (auto kernel = Load(name); kernel) return std::optional(*std::move(kernel));
  }
  return std::optional<Kernel>();
}

Result<Kernel> KernelStore::Ensure(const Progress& progress) const {
  CR_TRY(os::MakeDirs(config_.directory));
  CR_TRY_ASSIGN(auto present, Find());
  if (present) return *std::move(present);
  CR_TRY_ASSIGN(const auto lock, os::FileLock::Acquire(config_.directory + kLockName, kLockLimit));
  RemoveDrafts(config_.directory);
  CR_TRY_ASSIGN(auto made, Find());  // by whoever held the lock
  if (made) return *std::move(made);
  CR_TRY_ASSIGN(auto installed, ImportInstalled(progress));
  if (installed) return *std::move(installed);
  return ImportDownloaded(progress);
}

Result<std::optional<Kernel>> KernelStore::ImportInstalled(const Progress& progress) const {
  constexpr std::string_view kPrefix = "vmlinuz-";
  std::vector<std::string> names = SortedNames(config_.boot_directory);
  std::reverse(names.begin(), names.end());
  for (const std::string& name : names) {
    if (!name.starts_with(kPrefix) || !name.ends_with(config_.suffix)) continue;
    const std::string version = name.substr(kPrefix.size());
    const std::string image = config_.boot_directory + "/" + name;
    const std::string modules = config_.modules_directory + "/" + version;
    if (access(image.c_str(), R_OK) != 0 || access(modules.c_str(), R_OK | X_OK) != 0) continue;
    if (progress) progress("unpacking the installed kernel " + version);
    CR_TRY_ASSIGN(Kernel kernel, Import(version, image, modules, "installed " + image, true));
    return std::optional(std::move(kernel));
  }
  return std::optional<Kernel>();
}

Result<Kernel> KernelStore::ImportDownloaded(const Progress& progress) const {
  CR_TRY_ASSIGN(const std::string package, DependencyOf(config_.meta_package));
  CR_TRY_ASSIGN(const os::TempDir work, os::TempDir::Create(config_.directory));
  if (progress) progress("downloading " + package);
  std::vector<std::string> download = {"apt-get", "-q"};
  // As root, apt would download as a user that cannot write here.
  if (geteuid() == 0) download.insert(download.end(), {"-o", "APT::Sandbox::User=root"});
  download.insert(download.end(), {"download", package});
  CR_TRY(Helper(download, work.path(), milliseconds(600'000)));
  const std::vector<std::string> files = SortedNames(work.path());
  if (files.size() != 1) return NoKernel("apt-get download left no package file");
  if (progress) progress("unpacking " + package);
  CR_TRY(Helper({"dpkg-deb", "-x", files[0], "unpacked"}, work.path(), milliseconds(300'000)));

  const std::string root = work.path() + "/unpacked";
  const std::string version = package.substr(std::string_view("linux-image-").size());
  std::string modules = root + "/lib/modules/" + version;
  if (!fs::exists(modules)) modules = root + "/usr/lib/modules/" + version;
  return Import(version, root + "/boot/vmlinuz-" + version, modules, "package " + files[0], true);
}

Result<Kernel> KernelStore::UseImage(const std::string& path) const {
  CR_TRY_ASSIGN(const std::string image, os::ReadFile(path, kMaxKernelBytes));
  const std::string name = kCustomPrefix + Sha256Hex(image).substr(0, 16);
  if (auto present = Load(name); present) return present;
  CR_TRY(os::MakeDirs(config_.directory));
  CR_TRY_ASSIGN(const auto lock, os::FileLock::Acquire(config_.directory + kLockName, kLockLimit));
  if (auto made = Load(name); made) return made;
  return Import(name, path, "", "kernel_image " + path, false);
}

Result<Kernel> KernelStore::Import(const std::string& name, const std::string& image_path,
                                   const std::string& modules_directory, const std::string& source,
                                   bool modules_required) const {
  CR_TRY_ASSIGN(std::string image, os::ReadFile(image_path, kMaxKernelBytes));
  auto vmlinux = ExtractVmlinux(std::move(image));
  if (!vmlinux) return Err(std::move(vmlinux).error().Context(image_path));
  if (auto usable = CheckPvhKernel(*vmlinux); !usable) {
    return Err(std::move(usable).error().Context(image_path));
  }
  CR_TRY_ASSIGN(const std::string version, KernelRelease(*vmlinux));
  std::string directory = modules_directory;
  if (!modules_required) directory = config_.modules_directory + "/" + version;
  std::vector<ModuleFile> modules;
  if (modules_required || fs::exists(directory)) {
    CR_TRY_ASSIGN(modules, ResolveModules(directory, GuestModules(),
                                          modules_required ? MissingModules::kAreErrors
                                                           : MissingModules::kAreBuiltIn));
  }

  CR_TRY_ASSIGN(os::TempDir staging, os::TempDir::Create(config_.directory));
  CR_TRY(os::MakeDirs(staging.path() + "/modules"));
  CR_TRY(os::WriteFileAtomic(staging.path() + "/vmlinux", *vmlinux, 0644));
  Json names = Json::array();
  for (const ModuleFile& module : modules) {
    CR_TRY(os::WriteFileAtomic(fmt::format("{}/modules/{}.ko", staging.path(), module.name),
                               module.contents, 0644));
    names.push_back(module.name);
  }
  const Json manifest = {{"format", kFormat},
                         {"version", version},
                         {"vmlinux_sha256", Sha256Hex(*vmlinux)},
                         {"source", source},
                         {"modules", std::move(names)}};
  CR_TRY(os::WriteFileAtomic(staging.path() + "/manifest.json", manifest.dump(2) + "\n", 0644));

  const std::string target = config_.directory + "/" + name;
  std::error_code error;
  fs::remove_all(target, error);  // of another format, or damaged: Load refused it
  if (rename(staging.path().c_str(), target.c_str()) != 0) {
    return ErrErrno(ErrorCode::kInternal, fmt::format("rename to {}", target));
  }
  (void)staging.Keep();
  return Load(name);
}

}  // namespace cleanroom::vmm
