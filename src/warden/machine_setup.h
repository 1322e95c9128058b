// What a sandbox's machine is made of, and what every guest is told first.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cleanroom/internal/v1/guest.pb.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "os/netns/netns.h"
#include "os/unique_fd.h"
#include "vmm/backend.h"

namespace cleanroom::warden {

namespace pb = ::cleanroom::internal::v1;

// The machine with the sandbox's TAP; `tap_fd` stays the caller's.
Result<vmm::MachineSpec> MachineSpecOf(const std::string& sandbox_id,
                                       const os::NetNsConfig& network, int tap_fd,
                                       const pb::Machine& machine);

// What it comes from. `connection`: to the VMM of a held machine; used by a fork.
vmm::StartFrom StartFromOf(const pb::Machine& machine, os::UniqueFd& connection);

// The backend that runs it, in the jail that confinement.h has prepared. `fork_listener`: where
// forks of it are to be asked for, the caller's; -1: it is not to be held.
Result<std::unique_ptr<vmm::Backend>> OpenBackendOf(const pb::Machine& machine, int fork_listener);

// For the kernel's command line: has the agent prepare and prime a machine that is to be saved.
std::string PrepareOption(const os::NetNsConfig& network);

// What a guest is told whoever it will be: entropy, name, time and how to prepare.
Result<pb::ConfigureRequest> IdentityOf(const std::string& sandbox_id,
                                        const os::NetNsConfig& network);

// Nanoseconds since the Unix epoch.
int64_t WallClockNs();

}  // namespace cleanroom::warden
