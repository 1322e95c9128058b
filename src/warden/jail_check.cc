#include "warden/jail_check.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "os/process.h"
#include "vmm/jail.h"

namespace cleanroom::warden {
namespace {

using capability::Check;

constexpr std::chrono::milliseconds kProgramLimit{5000};
// Of the distribution's programs the one that does nothing.
constexpr const char* kProgram = "/usr/bin/true";

Check Failed(std::string name, const Error& error) {
  return {std::move(name), Check::Status::kFail, error.message(),
          error.remedy().empty() ? "see docs/threat-model.md" : error.remedy()};
}

Check Ok(std::string name, std::string message) {
  return {std::move(name), Check::Status::kOk, std::move(message), ""};
}

Check Missing(std::string name, std::string message) {
  return {std::move(name), Check::Status::kFail, std::move(message),
          "this is a defect of this build: sandboxes are less confined than documented"};
}

bool HasNoCapability() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets = {};
  if (syscall(SYS_capget, &header, sets.data()) != 0) return false;
  return std::ranges::all_of(sets, [](const auto& set) {
    return set.effective == 0 && set.permitted == 0 && set.inheritable == 0;
  });
}

Check CheckUser(const ConfinementConfig& config) {
  if (geteuid() == 0) {
    return {"jail-user", Check::Status::kWarn, "sandboxes run as root, in a user namespace",
            "run as an ordinary user, or as root with all capabilities and user ids of the host"};
  }
  return Ok("jail-user", config.user ? "each sandbox runs as a user of its own"
                                     : fmt::format("sandboxes run as you, user {}", geteuid()));
}

Check CheckPrivileges() {
  if (!HasNoCapability() || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
    return Missing("jail-privileges", "capabilities are left");
  }
  return Ok("jail-privileges", "no capability, and no way to any (no_new_privs)");
}

Check CheckFiles(const Confined& confined) {
  if (confined.no_root) return Failed("jail-files", *confined.no_root);
  for (const char* path : {"/usr/bin", "/etc/passwd", "/proc/self"}) {
    if (access(path, F_OK) == 0) return Missing("jail-files", fmt::format("{} is seen", path));
  }
  return Ok("jail-files",
            "a warden sees its sandbox's folder and nothing else of the host's files");
}

Check CheckSystemCalls() {
  if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != SECCOMP_MODE_FILTER) {
    return Missing("jail-system-calls", "no filter of system calls is in force");
  }
  return Ok("jail-system-calls", "a filter denies what neither warden nor machine needs");
}

Check CheckNetwork(const Confined& confined) {
  if (confined.no_network) return Failed("jail-network", *confined.no_network);
  return Ok("jail-network", confined.network.has_ipv6
                                ? "a network of its own, IPv4 and IPv6, with the doors as only way"
                                : "a network of its own, IPv4 only, with the doors as only way");
}

Check CheckMachine() {
  vmm::MachineSpec machine;
  os::SpawnOptions options;
  vmm::Jail(machine, {.root = vmm::kJailRoot}, &options);
  auto ran = os::Process::Spawn({kProgram}, options);
  Result<std::optional<os::ExitStatus>> ended =
      ran ? ran->WaitFor(kProgramLimit) : std::unexpected(ran.error());
  if (!ended) {
    return {"jail-machine", Check::Status::kFail, ended.error().message(),
            "user, mount, process, network, IPC and UTS namespaces must be allowed: "
            "sysctl user.max_*_namespaces must not be 0"};
  }
  if (!*ended || !(*ended)->ok()) {
    return {"jail-machine", Check::Status::kFail, "a program does not run in a machine's root",
            "its programs and libraries must be readable for everybody"};
  }
  return Ok("jail-machine",
            "namespaces, a root and limits of its own, without processes or network of the host's");
}

}  // namespace

std::vector<Check> InspectJail(const ConfinementConfig& config) {
  auto confined = Confine(config);
  if (!confined) return {Failed("jail", confined.error())};
  std::vector<Check> checks = {CheckUser(config), CheckPrivileges(), CheckFiles(*confined),
                               CheckSystemCalls(), CheckNetwork(*confined)};
  if (!confined->no_root) checks.push_back(CheckMachine());
  return checks;
}

}  // namespace cleanroom::warden
