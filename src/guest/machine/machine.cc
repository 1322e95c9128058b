#include "guest/machine/machine.h"

#include <fcntl.h>
#include <signal.h>

#include <algorithm>
#include <chrono>

#include "cleanroom/internal/v1/guest.pb.h"
#include "guest/machine/devices.h"
#include "guest/machine/identity.h"
#include "guest/machine/layers.h"
#include "guest/machine/mounts.h"
#include "guest/machine/network.h"
#include "guest_link/devices.h"
#include "os/file.h"

namespace cleanroom::guest {
namespace {

// Block devices are there when their driver is loaded; on a slow host they may come a little later.
constexpr std::chrono::seconds kDeviceTimeout(5);

}  // namespace

Result<std::string> GuestMachine::FindDisk(const std::string& serial) {
  if (const auto known = disks_.find(serial); known != disks_.end()) return "/dev/" + known->second;
  CR_TRY_ASSIGN(DeviceEvents events, DeviceEvents::Create());
  const auto find = [this, &serial]() -> Result<std::string> {
    disks_ = ListBlockDevices("/sys");
    const auto found = disks_.find(serial);
    if (found == disks_.end()) {
      return Err(ErrorCode::kNotFound, "no block device has the serial " + serial);
    }
    return "/dev/" + found->second;
  };
  return events.WaitFor(find, kDeviceTimeout);
}

Result<Root> GuestMachine::Prepare(const internal::v1::PrepareRequest& request) {
  CR_TRY_ASSIGN(const std::string image, FindDisk(request.image_device()));
  CR_TRY_ASSIGN(const std::string disk, FindDisk(request.disk_device()));
  // Slots are looked for once, before the machine is saved.
  CR_TRY(FindDisk(guest_link::SlotSerial(guest_link::kSlots - 1)));
  CR_TRY_ASSIGN(Root root, MountRoot({.image = image, .disk = disk}));
  const auto& network = request.network();
  const NetworkConfig config{.mac = network.interface_mac(),
                             .addresses = {network.addresses().begin(), network.addresses().end()},
                             .gateways = {network.gateways().begin(), network.gateways().end()}};
  CR_TRY(SetUpNetwork(config));
  const std::vector<std::string> nameservers(network.nameservers().begin(),
                                             network.nameservers().end());
  CR_TRY(WriteNetworkFiles(root, nameservers));
  return root;
}

Result<void> GuestMachine::Mount(const internal::v1::MountRequest& request, const Root& root) {
  LayeredFolder folder{.target = request.target(), .devices = {}};
  for (const int32_t slot : request.slots()) {
    CR_TRY_ASSIGN(std::string device, FindDisk(guest_link::SlotSerial(slot)));
    folder.devices.push_back(std::move(device));
  }
  folders_.push_back(folder.target);
  return MountLayers(root, folder, static_cast<int>(folders_.size() - 1));
}

Result<std::string> GuestMachine::UpperOf(const std::string& target) const {
  const auto found = std::ranges::find(folders_, target);
  if (found == folders_.end()) {
    return Err(ErrorCode::kNotFound, target + " is no folder that the sandbox began with");
  }
  return UpperFolder(static_cast<int>(found - folders_.begin()));
}

Result<void> GuestMachine::Identify(const internal::v1::ConfigureRequest& request,
                                    const Root& root) {
  if (!IsHostname(request.hostname())) {
    return Err(ErrorCode::kInvalidArgument,
               "hostname must be 1 to 64 characters of letters, digits, '.' and '-'");
  }
  if (request.entropy().size() < kMinEntropyBytes) {
    return Err(ErrorCode::kInvalidArgument, "entropy must have at least 32 bytes");
  }
  // First of all, so that nothing here takes its randomness or the time from a template.
  CR_TRY(SeedRandom(request.entropy()));
  CR_TRY(SetClock(request.wall_clock_ns()));
  CR_TRY(SetHostname(request.hostname()));
  const auto& addresses = request.prepare().network().addresses();
  return WriteIdentityFiles(root, request.hostname(), {addresses.begin(), addresses.end()});
}

Result<void> GuestMachine::AdjustClock(int64_t nanoseconds) {
  return guest::AdjustClock(nanoseconds);
}

Result<void> GuestMachine::DropCaches() {
  CR_TRY_ASSIGN(const os::UniqueFd file, os::Open("/proc/sys/vm/drop_caches", O_WRONLY));
  return os::WriteAll(file.get(), "3", "drop_caches");
}

void GuestMachine::SignalAll(int signal) { (void)kill(-1, signal); }

void GuestMachine::Quiesce() { QuiesceDisk(); }

}  // namespace cleanroom::guest
