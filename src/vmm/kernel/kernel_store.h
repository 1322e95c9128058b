// KernelStore: the guest kernels kept under a data folder, in
// DIR/VERSION/{vmlinux,modules/*.ko,manifest.json}.
//
// The managed kernel is Debian's cloud kernel, taken from the host if it is installed there, else
// downloaded by apt-get as a file and unpacked: no root, nothing installed. A folder appears whole
// or not at all; a lock lets one process make it while others wait.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace cleanroom::vmm {

struct Kernel {
  std::string version;               // "6.1.0-56-cloud-amd64"
  std::string vmlinux;               // path of the uncompressed ELF with a PVH entry
  std::vector<std::string> modules;  // paths of the .ko files, in load order
  std::string digest;                // SHA-256 (hex) of vmlinux
  std::string source;                // where it came from, for people
};

struct KernelStoreConfig {
  std::string directory;  // made if missing
  // Debian's package that depends on the newest kernel of its kind.
  std::string meta_package = "linux-image-cloud-amd64";
  // Where an installed kernel would be.
  std::string boot_directory = "/boot";
  std::string modules_directory = "/lib/modules";
  std::string suffix = "-cloud-amd64";
};

class KernelStore {
 public:
  using Progress = std::function<void(std::string_view)>;

  explicit KernelStore(KernelStoreConfig config) : config_(std::move(config)) {}

  // The newest managed kernel that is already there; nothing if there is none. Fast.
  Result<std::optional<Kernel>> Find() const;

  // Find, or else make one: seconds, and for a download minutes, blocking. failed_precondition,
  // with the remedy, when there is no way to get one.
  Result<Kernel> Ensure(const Progress& progress = {}) const;

  // A kernel of the user's (`kernel_image`): a vmlinux, or a bzImage that is unpacked into the
  // store. Its modules are those of the host for the same version, if any; otherwise what the guest
  // needs must be built in.
  Result<Kernel> UseImage(const std::string& path) const;

 private:
  Result<Kernel> Load(const std::string& name) const;
  Result<std::optional<Kernel>> ImportInstalled(const Progress& progress) const;
  Result<Kernel> ImportDownloaded(const Progress& progress) const;
  Result<Kernel> Import(const std::string& name, const std::string& image_path,
                        const std::string& modules_directory, const std::string& source,
                        bool modules_required) const;

  KernelStoreConfig config_;
};

}  // namespace cleanroom::vmm
