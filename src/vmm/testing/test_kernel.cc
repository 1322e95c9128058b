#include "vmm/testing/test_kernel.h"

#include <cstdlib>

#include "vmm/kernel/initramfs.h"

namespace cleanroom::vmm {

namespace {

// The build's own folder, or where somebody who may not write there keeps his.
std::string DataFolder() {
  const char* given = std::getenv("CLEANROOM_TEST_DATA");
  return given != nullptr ? given : CLEANROOM_TEST_DATA;
}

}  // namespace

Result<Kernel> TestKernel() {
  KernelStore store({.directory = DataFolder() + "/kernels"});
  return store.Ensure();
}

Result<std::string> TestInitramfs(const Kernel& kernel, const std::string& agent) {
  return EnsureInitramfs(DataFolder() + "/initramfs", kernel, agent);
}

}  // namespace cleanroom::vmm
