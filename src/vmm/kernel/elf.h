// Reading ELF images: kernels and kernel modules. Pure; the images come from the distribution or
// the user, so every offset is checked against the size.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::vmm {

// Success when `image` is a whole 64-bit x86 ELF kernel with a PVH entry (Xen note PHYS32_ENTRY),
// which QEMU and Firecracker boot directly. data_corrupt when it is no such ELF,
// failed_precondition without the note.
Result<void> CheckPvhKernel(std::string_view image);

// The whole value of a tag of a module's .modinfo section ("depends"), empty when absent.
Result<std::string> ModuleInfo(std::string_view module, std::string_view tag);

// The release in the kernel's banner: "Linux version 6.1.0-56-cloud-amd64 (" ->
// "6.1.0-56-cloud-amd64".
Result<std::string> KernelRelease(std::string_view vmlinux);

}  // namespace cleanroom::vmm
