// The descriptors QEMU finds open. Fixed, so that the command line is the same every time. A header
// of its own for the library that is loaded into QEMU (preload/).
#pragma once

namespace cleanroom::vmm {

inline constexpr int kQemuAgentFd = 3;
inline constexpr int kQemuMonitorFd = 4;
inline constexpr int kQemuConsoleFd = 5;
inline constexpr int kQemuTapFd = 6;
inline constexpr int kQemuStateFd = 7;  // of a saved machine, when it is restored
inline constexpr int kQemuForkFd = 8;   // where forks of a held machine are asked for

}  // namespace cleanroom::vmm
