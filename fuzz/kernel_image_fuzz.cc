// Kernels and modules that a user or a package supplies.
#include <cstddef>
#include <cstdint>
#include <string>

#include "vmm/kernel/decompress.h"
#include "vmm/kernel/elf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string image(reinterpret_cast<const char*>(data), size);
  (void)cleanroom::vmm::CheckPvhKernel(image);
  (void)cleanroom::vmm::ModuleInfo(image, "depends");
  (void)cleanroom::vmm::KernelRelease(image);
  (void)cleanroom::vmm::ExtractVmlinux(image);
  return 0;
}
