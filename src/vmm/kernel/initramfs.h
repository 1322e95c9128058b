// The initramfs a guest boots from: the agent as /init and the kernel's modules. Nothing else: the
// agent makes the rest at run time.
//
//   /init               the agent
//   /modules.list       module paths, one per line, in the order to load them with finit_module(2)
//   /modules/NAME.ko
//   /dev/console        so that /init has its standard streams
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/kernel/kernel_store.h"
#include "vmm/kernel/modules.h"

namespace cleanroom::vmm {

// Writes the archive (cpio newc, uncompressed: a guest without hardware virtualisation unpacks that
// quickest) to `path`. The same input gives the same bytes.
Result<void> WriteInitramfs(const std::string& path, const std::string& agent,
                            const std::vector<ModuleFile>& modules);

// The initramfs of `kernel` and the agent binary, in `directory`, made if it is not there yet. Its
// name is the digest of its inputs; processes may race for it.
Result<std::string> EnsureInitramfs(const std::string& directory, const Kernel& kernel,
                                    const std::string& agent_path);

}  // namespace cleanroom::vmm
