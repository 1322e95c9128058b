#include "vmm/qemu/qemu_backend.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "os/file.h"
#include "os/netns/tap.h"
#include "os/socket.h"
#include "vmm/jail.h"
#include "vmm/qemu/argv.h"
#include "vmm/qemu/fork.h"
#include "vmm/qemu/qemu_machine.h"

namespace cleanroom::vmm {

using capability::Check;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr const char* kInstall =
    "Install the Debian package qemu-system-x86, or set backends.qemu.binary_path";

}  // namespace

capability::Names QemuBackend::Capabilities() const { return {capability::kTemplates}; }

Result<std::string> QemuBackend::FindBinary() const {
  auto found = os::FindExecutable(config_.binary);
  if (found && access((config_.root + *found).c_str(), X_OK) != 0) {
    found = ErrErrno(os::CodeForErrno(errno), "run " + *found);
  }
  if (!found) {
    return Err(Error(ErrorCode::kBackendUnavailable, found.error().message()).Remedy(kInstall));
  }
  return found;
}

Result<std::string> QemuBackend::Version() const {
  CR_TRY_ASSIGN(const std::string binary, FindBinary());
  auto output = os::Run({binary, "--version"}, {.timeout = milliseconds(5000)});
  if (!output || !output->status.ok()) {
    return Err(Error(ErrorCode::kBackendUnavailable,
                     fmt::format("{} --version: {}", binary,
                                 output ? output->status.ToString() : output.error().message()))
                   .Remedy(kInstall));
  }
  return output->out.substr(0, output->out.find('\n'));
}

std::vector<Check> QemuBackend::Checks() const {
  std::vector<Check> checks;
  auto add = [&](std::string name, Check::Status status, std::string message, std::string remedy) {
    checks.push_back({std::move(name), status, std::move(message), std::move(remedy)});
  };
  if (auto version = Version(); version) {
    add("qemu", Check::Status::kOk, *version, "");
  } else {
    add("qemu", Check::Status::kFail, version.error().message(), version.error().remedy());
  }
  if (auto tun = os::CheckTun(); tun) {
    add("tun", Check::Status::kOk, "/dev/net/tun can be opened", "");
  } else {
    add("tun", Check::Status::kFail, tun.error().message(), tun.error().remedy());
  }
  return checks;
}

bool QemuBackend::HasForkServer() { return CLEANROOM_FORK_SERVER != 0; }

bool QemuBackend::CanHold(Accelerator accelerator) const {
  // Under KVM a copy is as quick, and the kernel's side of the machine does not fork.
  return HasForkServer() && accelerator == Accelerator::kTcg && !config_.preload.empty();
}

Result<std::unique_ptr<Machine>> QemuBackend::Start(const MachineSpec& spec, StartFrom from,
                                                    TimePoint deadline) const {
  return std::visit([&](auto& one) { return StartAs(spec, std::move(one), deadline); }, from);
}

Result<std::unique_ptr<QemuMachine>> QemuBackend::Spawn(const MachineSpec& spec,
                                                        std::variant<Boot, Copy> from,
                                                        int state_fd) const {
  if (spec.slots > kMaxSlots) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("a machine has at most {} slots, not {}", kMaxSlots, spec.slots));
  }
  CR_TRY_ASSIGN(const std::string binary, FindBinary());
  CR_TRY_ASSIGN(auto agent, os::SocketPair());
  CR_TRY_ASSIGN(auto console, os::SocketPair());
  CR_TRY_ASSIGN(auto monitor, os::SocketPair());
  os::SpawnOptions options;
  // What QEMU itself says goes where the guest's console goes: it is the reason when it does not
  // start.
  options.fds = {{1, console.second.get()},
                 {2, console.second.get()},
                 {kQemuAgentFd, agent.second.get()},
                 {kQemuMonitorFd, monitor.second.get()},
                 {kQemuConsoleFd, console.second.get()}};
  if (spec.network.fd >= 0) options.fds.push_back({kQemuTapFd, spec.network.fd});
  if (state_fd >= 0) options.fds.push_back({kQemuStateFd, state_fd});
  options.env = {{"PATH=/usr/bin:/bin", "LC_ALL=C"}};
  const auto* const copy = std::get_if<Copy>(&from);
  const bool held = config_.fork_listener >= 0;
  if (held && !HasForkServer()) {
    return Err(ErrorCode::kUnimplemented, "this build cannot hold machines");
  }
  if (held && config_.preload.empty()) {
    return Err(ErrorCode::kInternal, "nothing to hold a machine with");
  }
  if ((copy != nullptr || held) && !config_.preload.empty()) {
    options.env->push_back("LD_PRELOAD=" + config_.preload);
  }
  if (copy != nullptr) options.env->push_back("CLEANROOM_READ_ONLY=" + copy->memory_file);
  if (held) {
    options.fds.push_back({kQemuForkFd, config_.fork_listener});
    options.env->push_back(fmt::format("CLEANROOM_FORK_FD={}", kQemuForkFd));
    options.env->push_back("CLEANROOM_FORK_DISK=" + spec.disk);
    options.env->push_back("CLEANROOM_FORK_ROOT=" + config_.fork_root);
  }
  Jail(spec, {.root = config_.root, .held = held}, &options);
  auto process = os::Process::Spawn(
      BuildArgv({.binary = binary, .machine = spec, .from = std::move(from), .held = held}),
      options);
  if (!process) {
    return Err(ErrorCode::kRuntimeLaunchFailed, "start QEMU: " + process.error().message());
  }
  return std::make_unique<QemuMachine>(*std::move(process),
                                       QemuMachine::Ends{.agent = std::move(agent.first),
                                                         .console = std::move(console.first),
                                                         .monitor = std::move(monitor.first)});
}

Result<std::unique_ptr<Machine>> QemuBackend::StartAs(const MachineSpec& spec, Boot from,
                                                      TimePoint /*deadline*/) const {
  return Spawn(spec, std::move(from), -1);
}

Result<std::unique_ptr<Machine>> QemuBackend::StartAs(const MachineSpec& spec, Copy from,
                                                      TimePoint deadline) const {
  CR_TRY_ASSIGN(const os::UniqueFd state, os::Open(config_.root + from.state_file, O_RDONLY));
  CR_TRY_ASSIGN(auto machine, Spawn(spec, std::move(from), state.get()));
  CR_TRY(machine->Resume(deadline));
  return machine;
}

Result<std::unique_ptr<Machine>> QemuBackend::StartAs(const MachineSpec& spec, Fork from,
                                                      TimePoint deadline) const {
  if (!from.connection) {
    CR_TRY_ASSIGN(from.connection, os::ConnectUnix(from.socket));
  }
  const ForkSpec fork{
      .sandbox_id = spec.sandbox_id, .disk = config_.root + spec.disk, .tap_fd = spec.network.fd};
  CR_TRY_ASSIGN(auto machine, ForkHeld(fork, std::move(from.connection)));
  CR_TRY(machine->Continue(deadline));
  return machine;
}

}  // namespace cleanroom::vmm
