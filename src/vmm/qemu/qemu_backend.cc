#include "vmm/qemu/qemu_backend.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "os/file.h"
#include "os/netns/netns.h"
#include "os/socket.h"
#include "vmm/accelerator.h"
#include "vmm/jail.h"
#include "vmm/qemu/argv.h"
#include "vmm/qemu/qmp.h"

namespace cleanroom::vmm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Between two looks at something that takes a few milliseconds.
constexpr std::chrono::microseconds kPollInterval{300};

class QemuMachine : public Machine {
 public:
  QemuMachine(os::Process process, os::UniqueFd agent, os::UniqueFd console, os::UniqueFd monitor)
      : process_(std::move(process)),
        agent_(std::move(agent)),
        console_(std::move(console)),
        qmp_(std::move(monitor)) {}

  pid_t pid() const override { return process_.pid(); }
  int pidfd() const override { return process_.pidfd(); }
  os::UniqueFd TakeAgentStream() override { return std::move(agent_); }
  os::UniqueFd TakeConsole() override { return std::move(console_); }
  Result<void> Kill() override { return process_.Kill(SIGKILL); }
  Result<os::ExitStatus> Wait() override { return process_.Wait(); }

  Result<os::ExitStatus> Quit(milliseconds timeout) override {
    const auto deadline = steady_clock::now() + timeout;
    // Without an answer it is killed below.
    (void)Ask("quit", "{}", deadline);
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    CR_TRY_ASSIGN(const auto ended, process_.WaitFor(std::max(left, milliseconds(0))));
    if (ended) return *ended;
    CR_TRY(Kill());
    return Wait();
  }

  Result<void> Save(int state_fd, steady_clock::time_point deadline) override {
    CR_TRY(Ask("stop", "{}", deadline));
    CR_TRY(LeaveMemoryInItsFile(deadline));
    CR_TRY(qmp_.PassFd("state", state_fd, deadline));
    CR_TRY(Ask("migrate", R"({"uri":"fd:state"})", deadline));
    return Until("query-migrate", "completed", deadline);
  }

  // Of one that was started with -incoming defer.
  Result<void> Resume(steady_clock::time_point deadline) {
    CR_TRY(LeaveMemoryInItsFile(deadline));
    // It has not moved to another host: no switch needs to learn where it is.
    CR_TRY(Ask("migrate-set-parameters", R"({"announce-rounds":0})", deadline));
    CR_TRY(Ask("migrate-incoming", fmt::format(R"({{"uri":"fd:{}"}})", kQemuStateFd), deadline));
    // The state is there when it is paused, as the saved machine was.
    CR_TRY(Until("query-status", "paused", deadline));
    CR_TRY(Ask("cont", "{}", deadline));
    return {};
  }

 private:
  Result<std::string> Ask(std::string_view command, std::string_view arguments,
                          steady_clock::time_point deadline) {
    if (!greeted_) {
      CR_TRY(qmp_.Handshake(deadline));
      greeted_ = true;
    }
    return qmp_.Call(command, arguments, deadline);
  }

  Result<void> LeaveMemoryInItsFile(steady_clock::time_point deadline) {
    CR_TRY(Ask("migrate-set-capabilities",
               R"({"capabilities":[{"capability":"x-ignore-shared","state":true}]})", deadline));
    return {};
  }

  // Asks until the answer's status is `wanted`.
  Result<void> Until(std::string_view query, std::string_view wanted,
                     steady_clock::time_point deadline) {
    for (;;) {
      CR_TRY_ASSIGN(const std::string answer, Ask(query, "{}", deadline));
      const auto status = nlohmann::json::parse(answer, nullptr, false).value("status", "");
      if (status == wanted) return {};
      if (status == "failed" || status == "internal-error" || status == "shutdown") {
        return Err(ErrorCode::kRuntimeLaunchFailed,
                   fmt::format("QEMU: {} says {} instead of {}", query, status, wanted));
      }
      if (steady_clock::now() >= deadline) {
        return Err(ErrorCode::kDeadlineExceeded,
                   fmt::format("QEMU: {} still says {} instead of {}", query, status, wanted));
      }
      std::this_thread::sleep_for(kPollInterval);
    }
  }

  os::Process process_;
  os::UniqueFd agent_;
  os::UniqueFd console_;
  Qmp qmp_;
  bool greeted_ = false;
};

}  // namespace

Capabilities QemuBackend::Capabilities() const {
  vmm::Capabilities capabilities = NoCapabilities();
  capabilities[std::string(capability::kNetworkDenyAll)] = true;
  capabilities[std::string(capability::kNetworkAllowRules)] = true;
  capabilities[std::string(capability::kNetworkAllowAll)] = true;
  return capabilities;
}

Result<std::string> QemuBackend::FindBinary() const {
  auto found = os::FindExecutable(config_.binary);
  if (found && access((config_.root + *found).c_str(), X_OK) != 0) {
    found = ErrErrno(os::CodeForErrno(errno), "run " + *found);
  }
  if (!found) {
    return Err(ErrorCode::kBackendUnavailable,
               fmt::format("{}; install the Debian package qemu-system-x86, or set "
                           "backends.qemu.binary_path",
                           found.error().message()));
  }
  return found;
}

Result<std::string> QemuBackend::Version() const {
  CR_TRY_ASSIGN(const std::string binary, FindBinary());
  auto output = os::Run({binary, "--version"}, {.timeout = milliseconds(5000)});
  if (!output || !output->status.ok()) {
    return Err(ErrorCode::kBackendUnavailable,
               fmt::format("{} --version: {}", binary,
                           output ? output->status.ToString() : output.error().message()));
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
    add("qemu", Check::Status::kFail, version.error().message(),
        "install the Debian package qemu-system-x86, or set backends.qemu.binary_path");
  }
  const KvmFacts kvm = ReadKvmFacts();
  if (!kvm.processor) {
    add("accelerator", Check::Status::kWarn,
        "TCG (emulation): the processor shows neither vmx nor svm",
        "for more speed use a host with hardware virtualisation (nested, if it is a VM)");
  } else if (!kvm.device_problem.empty()) {
    add("accelerator", Check::Status::kWarn, "TCG (emulation): " + kvm.device_problem,
        "load the kvm module and add the user Cleanroom runs as to the group kvm");
  } else {
    add("accelerator", Check::Status::kOk, "KVM, once a test boot under it has succeeded", "");
  }
  if (auto tun = os::CheckTun(); tun) {
    add("tun", Check::Status::kOk, "/dev/net/tun can be opened", "");
  } else {
    const std::string& text = tun.error().message();
    const size_t semicolon = text.find("; ");
    add("tun", Check::Status::kFail, text.substr(0, semicolon),
        semicolon == std::string::npos ? "" : text.substr(semicolon + 2));
  }
  return checks;
}

namespace {

Result<std::unique_ptr<QemuMachine>> Start(const std::string& binary, const QemuConfig& config,
                                           const MachineSpec& spec, int state_fd) {
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
  if (spec.tap_fd >= 0) options.fds.push_back({kQemuTapFd, spec.tap_fd});
  if (state_fd >= 0) options.fds.push_back({kQemuStateFd, state_fd});
  options.env = {{"PATH=/usr/bin:/bin", "LC_ALL=C"}};
  if (spec.memory == MemoryKind::kCopy && !config.read_only_opener.empty()) {
    options.env->push_back("LD_PRELOAD=" + config.read_only_opener);
    options.env->push_back("CLEANROOM_READ_ONLY=" + spec.memory_file);
  }
  Jail(spec, config.root, &options);
  auto process = os::Process::Spawn(BuildArgv({.binary = binary, .machine = spec}), options);
  if (!process) {
    return Err(ErrorCode::kRuntimeLaunchFailed, "start QEMU: " + process.error().message());
  }
  return std::make_unique<QemuMachine>(*std::move(process), std::move(agent.first),
                                       std::move(console.first), std::move(monitor.first));
}

}  // namespace

Result<std::unique_ptr<Machine>> QemuBackend::Launch(const MachineSpec& spec) const {
  CR_TRY_ASSIGN(const std::string binary, FindBinary());
  return Start(binary, config_, spec, -1);
}

Result<std::unique_ptr<Machine>> QemuBackend::Restore(const MachineSpec& spec, int state_fd,
                                                      steady_clock::time_point deadline) const {
  CR_TRY_ASSIGN(const std::string binary, FindBinary());
  CR_TRY_ASSIGN(auto machine, Start(binary, config_, spec, state_fd));
  CR_TRY(machine->Resume(deadline));
  return machine;
}

}  // namespace cleanroom::vmm
