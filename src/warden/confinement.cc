#include "warden/confinement.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "os/file.h"
#include "os/jail/identity.h"
#include "os/jail/private_root.h"
#include "os/seccomp/filter.h"
#include "os/unique_fd.h"
#include "vmm/jail.h"

namespace cleanroom::warden {
namespace {

// A connection of the guest takes two descriptors, its pipes and flows some more.
constexpr rlim_t kDescriptors = 8192;
// Processes and threads of the warden and its VMM, for which vmm/jail.h has a lower one; and of all
// forks of one that is held.
constexpr rlim_t kThreads = 1024;
constexpr rlim_t kForkedThreads = 65536;

// Leaves the host's file system behind.
Result<void> EnterRoot(const ConfinementConfig& config) {
  if (config.hold) {
    os::PrivateRootConfig shared = vmm::JailRoot(config.readable, config.writable);
    shared.writable.push_back(config.folder);
    shared.empty.emplace_back(vmm::kEmptyRoot);
    return os::EnterPrivateRoot(shared);
  }
  const os::PrivateRootConfig own{
      .read_only = {}, .writable = {config.folder}, .devices = {"/dev/null"}, .empty = {}};
  return os::EnterPrivateRoot(
      own, {{.at = vmm::kJailRoot, .files = vmm::JailRoot(config.readable, config.writable)}});
}

// KVM is for a group of users on most hosts.
std::vector<gid_t> GroupsOfDevices() {
  struct stat kvm = {};
  if (stat("/dev/kvm", &kvm) != 0 || kvm.st_gid == 0) return {};
  constexpr mode_t kReadAndWrite = S_IRGRP | S_IWGRP;
  if ((kvm.st_mode & kReadAndWrite) != kReadAndWrite) return {};
  return {kvm.st_gid};
}

// As much of `wanted` as is allowed.
Result<void> Limit(int resource, rlim_t wanted) {
  rlimit limit;
  if (getrlimit(resource, &limit) != 0) return ErrErrno(ErrorCode::kInternal, "getrlimit");
  limit.rlim_max = limit.rlim_cur = std::min(limit.rlim_max, wanted);
  if (setrlimit(resource, &limit) != 0) return ErrErrno(ErrorCode::kInternal, "setrlimit");
  return {};
}

Result<void> LimitAll(bool hold) {
  CR_TRY(Limit(RLIMIT_CORE, 0));
  CR_TRY(Limit(RLIMIT_MEMLOCK, 0));
  CR_TRY(Limit(RLIMIT_NOFILE, kDescriptors));
  // Counted in the new user namespace alone.
  return Limit(RLIMIT_NPROC, hold ? kForkedThreads : kThreads);
}

}  // namespace

Result<Confined> Confine(const ConfinementConfig& config) {
  const auto begin = std::chrono::steady_clock::now();
  // The network and the files are seen to side by side.
  auto set_up = os::NetNsSetUp::Begin(config.network);
  CR_TRY_ASSIGN(os::UniqueFd proc, os::OpenDir("/proc"));
  Result<void> entered;
  if (config.user) {
    // As root still: what leads to the files may be root's alone.
    const os::Credentials user{*config.user, *config.user, GroupsOfDevices()};
    entered = EnterRoot(config);
    CR_TRY(os::Become(user));
    CR_TRY(os::EnterUserNamespace(proc.get()));
  } else {
    entered = os::EnterUserNamespace(proc.get());
    if (entered) entered = EnterRoot(config);
  }
  proc.reset();
  CR_TRY(LimitAll(config.hold));
  if (config.hold && unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) != 0) {
    return ErrErrno(ErrorCode::kFailedPrecondition, "leave the host's network");
  }
  CR_TRY(os::DropPrivileges());
  CR_TRY(os::DenyUnneededSyscalls(config.hold ? os::Signals::kToAny : os::Signals::kToOneself));

  Confined confined;
  Result<os::NetNs> network = set_up ? set_up->Finish() : std::unexpected(set_up.error());
  if (!entered) confined.no_root = entered.error();
  if (network) {
    confined.network = *std::move(network);
  } else {
    confined.no_network = network.error();
  }
  confined.took = std::chrono::steady_clock::now() - begin;
  return confined;
}

}  // namespace cleanroom::warden
