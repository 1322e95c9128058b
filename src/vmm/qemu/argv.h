// The QEMU command line, as a pure function (golden-tested).
#pragma once

#include <string>
#include <vector>

#include "vmm/backend.h"
#include "vmm/qemu/descriptors.h"

namespace cleanroom::vmm {

struct QemuSpec {
  std::string binary = "qemu-system-x86_64";
  MachineSpec machine;
};

std::vector<std::string> BuildArgv(const QemuSpec& spec);

// The guest kernel's command line.
std::string KernelCommandLine(const MachineSpec& machine);

}  // namespace cleanroom::vmm
