// The managed kernel for tests, kept in the build folder between runs.
#pragma once

#include <string>

#include "base/result.h"
#include "vmm/kernel/kernel_store.h"

namespace cleanroom::vmm {

// Made at the first call of any test program; others wait for it.
Result<Kernel> TestKernel();

// The initramfs of that kernel with `agent` (a static program) as /init.
Result<std::string> TestInitramfs(const Kernel& kernel, const std::string& agent);

}  // namespace cleanroom::vmm
