#include "vmm/jail.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace cleanroom::vmm {
namespace {

constexpr uint64_t kMib = uint64_t{1} << 20;
constexpr uint64_t kDescriptors = 1024;
// Beside one for each processor: QEMU's pool for disk requests (64) and its own few.
constexpr uint64_t kThreads = 96;
// Files that it is handed: the state of a saved machine.
constexpr uint64_t kSmallFiles = 64 * kMib;

}  // namespace

os::PrivateRootConfig JailRoot(std::vector<std::string> readable,
                               std::vector<std::string> writable) {
  os::PrivateRootConfig root = os::ProgramsOnly();
  root.read_only.insert(root.read_only.end(), std::make_move_iterator(readable.begin()),
                        std::make_move_iterator(readable.end()));
  root.writable = std::move(writable);
  root.devices.emplace_back("/dev/kvm");
  return root;
}

std::vector<os::ResourceLimit> JailLimits(const MachineSpec& machine, const JailConfig& config) {
  uint64_t file = std::max<uint64_t>(kSmallFiles, static_cast<uint64_t>(machine.memory_mib) * kMib);
  struct stat disk = {};
  if (!machine.disk.empty() && stat((config.root + machine.disk).c_str(), &disk) == 0) {
    file = std::max(file, static_cast<uint64_t>(disk.st_size));
  }
  std::vector<os::ResourceLimit> limits = {
      {RLIMIT_CORE, 0}, {RLIMIT_MEMLOCK, 0}, {RLIMIT_NOFILE, kDescriptors}, {RLIMIT_FSIZE, file}};
  // A held one's counts for all forks of it, which limit themselves.
  if (!config.held) {
    limits.push_back({RLIMIT_NPROC, kThreads + static_cast<uint64_t>(machine.vcpus)});
  }
  return limits;
}

void Jail(const MachineSpec& machine, const JailConfig& config, os::SpawnOptions* options) {
  options->new_namespaces = config.held ? 0 : os::kChildNamespaces;
  options->root = config.held ? "" : config.root;
  options->limits = JailLimits(machine, config);
  options->no_new_privileges = true;
  options->new_session = true;
  options->parent_death_signal = SIGKILL;
}

}  // namespace cleanroom::vmm
