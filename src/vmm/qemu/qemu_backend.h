// The backend "qemu": one qemu-system-x86_64 process per machine, type microvm.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/backend.h"

namespace cleanroom::vmm {

struct QemuConfig {
  // A path, or a name looked up in PATH.
  std::string binary = "qemu-system-x86_64";
  // The library of preload/, for copies of a template whose memory may not be written to, and for
  // held machines; empty: QEMU opens the memory for writing, and no machine can be held.
  std::string preload = {};
  // The folder that is the VMM's root (vmm/jail.h); all other paths are paths in it. Empty: it has
  // the root of whoever launches it.
  std::string root = {};
  // An empty folder, which forks of a held VMM have as their root; empty: they keep its own.
  std::string fork_root = {};
};

class QemuBackend : public Backend {
 public:
  explicit QemuBackend(QemuConfig config = {}) : config_(std::move(config)) {}

  std::string_view name() const override { return "qemu"; }
  capability::Names Capabilities() const override;
  std::vector<capability::Check> Checks() const override;
  Result<std::unique_ptr<Machine>> Launch(const MachineSpec& spec) const override;
  Result<std::unique_ptr<Machine>> Restore(
      const MachineSpec& spec, int state_fd,
      std::chrono::steady_clock::time_point deadline) const override;
  Result<std::unique_ptr<Machine>> Fork(
      const ForkSpec& spec, os::UniqueFd connection,
      std::chrono::steady_clock::time_point deadline) const override;

  // Where the binary is; backend_unavailable, with the remedy, when it is missing.
  Result<std::string> FindBinary() const;
  // Its first line of `--version`, e.g. "QEMU emulator version 7.2.22 (Debian ...)".
  Result<std::string> Version() const;

 private:
  QemuConfig config_;
};

}  // namespace cleanroom::vmm
