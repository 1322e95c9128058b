// The QEMU command line, as a pure function (golden-tested).
#pragma once

#include <cstddef>
#include <string>
#include <variant>
#include <vector>

#include "vmm/backend.h"
#include "vmm/qemu/descriptors.h"

namespace cleanroom::vmm {

struct QemuSpec {
  std::string binary = "qemu-system-x86_64";
  MachineSpec machine;
  std::variant<Boot, Copy> from = {};  // a fork has no command line of its own
  bool held = false;                   // forks are made of it
};

// That a machine has place for, beside its other devices.
inline constexpr int kMaxSlots = 20;

std::vector<std::string> BuildArgv(const QemuSpec& spec);

// The name of a slot's block node.
std::string SlotNode(int slot);

// The guest kernel's command line.
std::string KernelCommandLine(const MachineSpec& machine);

}  // namespace cleanroom::vmm
