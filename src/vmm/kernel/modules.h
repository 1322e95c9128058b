// Which kernel modules the guest needs, and in which order they load.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace cleanroom::vmm {

// What a guest needs to find its devices and its root: serial port, disks, network, filesystems.
std::vector<std::string> GuestModules();

struct ModuleFile {
  std::string name;      // with underscores: "virtio_blk"
  std::string contents;  // the uncompressed ELF
};

// Whether a module may be missing because the kernel might have it built in.
enum class MissingModules { kAreErrors, kAreBuiltIn };

// Finds `names` in `directory` (/lib/modules/RELEASE or the like; .ko, .ko.xz, .ko.gz, .ko.zst)
// with everything they depend on, each after its dependencies. Built-in ones (modules.builtin) are
// left out. Dependencies come from the modules themselves: an unpacked package has no modules.dep.
Result<std::vector<ModuleFile>> ResolveModules(const std::string& directory,
                                               const std::vector<std::string>& names,
                                               MissingModules missing);

}  // namespace cleanroom::vmm
