#include "warden/machine_setup.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <chrono>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/text_coding.h"
#include "guest_link/devices.h"
#include "vmm/backends/backends.h"
#include "vmm/jail.h"
#include "vmm/tsc.h"

namespace cleanroom::warden {
namespace {

constexpr size_t kEntropyBytes = 64;

Result<std::string> Entropy() {
  std::string out(kEntropyBytes, '\0');
  if (getrandom(out.data(), out.size(), 0) != static_cast<ssize_t>(out.size())) {
    return ErrErrno(ErrorCode::kInternal, "getrandom");
  }
  return out;
}

// What every sandbox has alike.
pb::PrepareRequest Preparation(const os::NetNsConfig& inner) {
  pb::PrepareRequest prepare;
  prepare.set_image_device(std::string(guest_link::kImageSerial));
  prepare.set_disk_device(std::string(guest_link::kDiskSerial));
  pb::Network& network = *prepare.mutable_network();
  network.set_interface_mac(inner.guest_mac);
  // Nobody else is on the link: whatever the guest wants goes by the gateway, to be refused at once
  // rather than looked for.
  network.add_addresses(inner.guest_ipv4 + "/32");
  network.add_addresses(inner.guest_ipv6 + "/128");
  network.add_gateways(inner.gateway_ipv4);
  network.add_gateways(inner.gateway_ipv6);
  network.add_nameservers(inner.gateway_ipv4);
  return prepare;
}

}  // namespace

Result<vmm::MachineSpec> MachineSpecOf(const std::string& sandbox_id,
                                       const os::NetNsConfig& network, int tap_fd,
                                       const pb::Machine& machine) {
  vmm::MachineSpec spec;
  spec.sandbox_id = sandbox_id;
  spec.kernel = machine.kernel_path();
  spec.initrd = machine.initrd_path();
  spec.vcpus = machine.vcpus();
  spec.memory_mib = static_cast<int>(machine.memory_mib());
  spec.image = machine.image_path();
  spec.disk = machine.disk_path();
  spec.slots = guest_link::kSlots;
  spec.network = {.fd = tap_fd, .name = network.tap_name};
  spec.guest_mac = network.guest_mac;
  spec.accelerator = machine.accelerator() == ToString(vmm::Accelerator::kKvm)
                         ? vmm::Accelerator::kKvm
                         : vmm::Accelerator::kTcg;
  spec.tsc_khz = machine.tsc_khz();
  if (spec.tsc_khz == 0) {
    CR_TRY_ASSIGN(spec.tsc_khz, vmm::MeasureTscKhz());
  }
  return spec;
}

vmm::StartFrom StartFromOf(const pb::Machine& machine, os::UniqueFd& connection) {
  switch (machine.from_case()) {
    case pb::Machine::kCopy:
      return vmm::Copy{.memory_file = machine.copy().memory_path(),
                       .state_file = machine.copy().state_path()};
    case pb::Machine::kFork:
      return vmm::Fork{.socket = {}, .connection = std::move(connection)};
    case pb::Machine::kBoot:
    case pb::Machine::FROM_NOT_SET:
      break;
  }
  return vmm::Boot{};
}

Result<std::unique_ptr<vmm::Backend>> OpenBackendOf(const pb::Machine& machine, int fork_listener) {
  vmm::BackendConfig config;
  if (!machine.vmm_path().empty()) config.qemu.binary = machine.vmm_path();
  config.qemu.preload = machine.qemu().preload_path();
  config.qemu.fork_listener = fork_listener;
  // The VMM of a machine to hold has its warden's root (confinement.h).
  if (fork_listener < 0) {
    config.qemu.root = vmm::kJailRoot;
  } else {
    config.qemu.fork_root = vmm::kEmptyRoot;
  }
  return vmm::OpenBackend(machine.backend(), std::move(config));
}

std::string PrepareOption(const os::NetNsConfig& network) {
  return fmt::format("{}{}", guest_link::kPrepareOption,
                     HexEncode(Preparation(network).SerializeAsString()));
}

Result<pb::ConfigureRequest> IdentityOf(const std::string& sandbox_id,
                                        const os::NetNsConfig& network) {
  pb::ConfigureRequest configure;
  CR_TRY_ASSIGN(std::string entropy, Entropy());
  configure.set_entropy(std::move(entropy));
  configure.set_hostname(sandbox_id);
  configure.set_wall_clock_ns(WallClockNs());
  *configure.mutable_prepare() = Preparation(network);
  return configure;
}

int64_t WallClockNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace cleanroom::warden
