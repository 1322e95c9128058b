// The backend "qemu": one qemu-system-x86_64 process per machine, type microvm.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "vmm/backend.h"
#include "vmm/qemu/qemu_machine.h"

namespace cleanroom::vmm {

// What only QEMU needs is here, and nowhere in the neutral types.
struct QemuConfig {
  // A path, or a name looked up in PATH.
  std::string binary = "qemu-system-x86_64";
  // The library of preload/, for copies of a template whose memory may not be written to, and for
  // held machines; empty: QEMU opens the memory for writing, and no machine can be held.
  std::string preload = {};
  // The folder that is the VMM's root (vmm/jail.h); all other paths are paths in it. Empty: it has
  // the root of whoever launches it.
  std::string root = {};
  // A listening UNIX socket of the caller's, where forks of the machine that is started are asked
  // for (Fork); -1: it is not to be held.
  int fork_listener = -1;
  // An empty folder, which forks of a held VMM have as their root; empty: they keep its own.
  std::string fork_root = {};
};

class QemuBackend : public Backend {
 public:
  explicit QemuBackend(QemuConfig config = {}) : config_(std::move(config)) {}

  std::string_view name() const override { return "qemu"; }
  capability::Names Capabilities() const override;
  std::vector<capability::Check> Checks() const override;
  Result<std::string> FindBinary() const override;
  bool CanHold(Accelerator accelerator) const override;
  Result<std::unique_ptr<Machine>> Start(
      const MachineSpec& spec, StartFrom from,
      std::chrono::steady_clock::time_point deadline) const override;

  // Whether this build can hold machines, which CLEANROOM_FORK_SERVER decides.
  static bool HasForkServer();
  // Its first line of `--version`, e.g. "QEMU emulator version 7.2.22 (Debian ...)".
  Result<std::string> Version() const;

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  Result<std::unique_ptr<Machine>> StartAs(const MachineSpec& spec, Boot from,
                                           TimePoint deadline) const;
  Result<std::unique_ptr<Machine>> StartAs(const MachineSpec& spec, Copy from,
                                           TimePoint deadline) const;
  Result<std::unique_ptr<Machine>> StartAs(const MachineSpec& spec, Fork from,
                                           TimePoint deadline) const;
  // `state_fd`: of a copy.
  Result<std::unique_ptr<QemuMachine>> Spawn(const MachineSpec& spec, std::variant<Boot, Copy> from,
                                             int state_fd) const;

  QemuConfig config_;
};

}  // namespace cleanroom::vmm
