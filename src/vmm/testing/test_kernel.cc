#include "vmm/testing/test_kernel.h"

#include "vmm/initramfs.h"

namespace cleanroom::vmm {

Result<Kernel> TestKernel() {
  KernelStore store({.directory = CLEANROOM_TEST_DATA "/kernels"});
  return store.Ensure();
}

Result<std::string> TestInitramfs(const Kernel& kernel, const std::string& agent) {
  return EnsureInitramfs(CLEANROOM_TEST_DATA "/initramfs", kernel, agent);
}

}  // namespace cleanroom::vmm
