// The QEMU command line, as a pure function (golden-tested).
#pragma once

#include <string>
#include <vector>

#include "vmm/backend.h"

namespace cleanroom::vmm {

// The descriptors QEMU finds open. Fixed, so that the command line is the same every time.
inline constexpr int kQemuAgentFd = 3;
inline constexpr int kQemuMonitorFd = 4;
inline constexpr int kQemuConsoleFd = 5;
inline constexpr int kQemuTapFd = 6;
inline constexpr int kQemuStateFd = 7;  // of a saved machine, when it is restored
inline constexpr int kQemuForkFd = 8;   // where forks of a held machine are asked for

// The name of the agent's virtio-serial port in the guest (/sys/class/virtio-ports/*/name); it is
// port 1 of its bus.
inline constexpr char kAgentPortName[] = "cleanroom.agent";

struct QemuSpec {
  std::string binary = "qemu-system-x86_64";
  MachineSpec machine;
};

std::vector<std::string> BuildArgv(const QemuSpec& spec);

// The guest kernel's command line.
std::string KernelCommandLine(const MachineSpec& machine);

}  // namespace cleanroom::vmm
