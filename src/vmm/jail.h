// The jail of a virtual machine monitor: what whoever launches one puts it into, all of it here.
//
//   namespaces   user (no ids), mount, process, network (empty), IPC and host name: its own
//   root         a folder with the distribution's programs, the kernel, the image, its disk:
//   JailRoot limits       descriptors, processes and threads, size of files, locked memory, no core
//   dumps privileges   none, and no way to any: no_new_privs
//
// Beside it, the launcher's system call filter (os/seccomp) is inherited, the VMM adds its own
// (argv.cc), and the control plane puts the sandbox into a cgroup.
#pragma once

#include <string>
#include <vector>

#include "os/jail/private_root.h"
#include "os/process.h"
#include "vmm/backend.h"

namespace cleanroom::vmm {

// Where a warden has the root of its VMM, in its own.
inline constexpr char kJailRoot[] = "/vmm";
// What a VMM that needs no files any more has as its own: a fork of one that is held.
inline constexpr char kEmptyRoot[] = "/empty";

// What lies in that root: beside what programs of the distribution need, the files and folders of
// `readable`, the files of `writable`, and /dev/kvm.
os::PrivateRootConfig JailRoot(std::vector<std::string> readable,
                               std::vector<std::string> writable);

struct JailConfig {
  std::string root = {};  // a folder, which the machine's paths are in; empty: the launcher's root
  // The VMM is to have forks that outlive it: it keeps the launcher's root and namespaces, for each
  // fork has its own.
  bool held = false;
};

// Limits of a VMM that runs this machine.
std::vector<os::ResourceLimit> JailLimits(const MachineSpec& machine, const JailConfig& config);

// All of the jail that a child is given when it is started.
void Jail(const MachineSpec& machine, const JailConfig& config, os::SpawnOptions* options);

}  // namespace cleanroom::vmm
