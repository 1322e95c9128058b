#include "server/warden/warden_link.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>
#include <variant>

#include "cleanroom/internal/v1/warden.rpc.h"
#include "http/byte_stream.h"
#include "os/cgroup/cgroup.h"
#include "os/file.h"
#include "os/socket.h"
#include "server/warden/sandbox_user.h"
#include "telemetry/log.h"

namespace cleanroom::server {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

constexpr std::chrono::seconds kKillWait{10};
constexpr std::chrono::seconds kStopWait{1};
constexpr size_t kCommandLineBytes = 64U << 10;

// What a machine's monitor takes beside the machine's RAM: QEMU itself, and under emulation up to a
// gigabyte of translated code; the warden is small beside it.
constexpr int64_t kOverheadMib = 1536;
// The limits of vmm/jail.h and of the warden are lower.
constexpr uint64_t kProcesses = 512;
// That a held machine may have before they are in groups of their own.
constexpr uint64_t kForksAtOnce = 32;

// What a warden and its machine read of the host, beside the distribution's programs.
std::vector<std::string> FilesOf(const MachineShape& shape, const vmm::StartFrom& from) {
  // The held VMM has them open.
  if (std::holds_alternative<vmm::Fork>(from)) return {};
  const LaunchMachine& machine = shape.machine;
  std::vector<std::string> files = {shape.image.path, machine.kernel_path, machine.initrd_path,
                                    machine.vmm_path};
  if (const auto* const copy = std::get_if<vmm::Copy>(&from)) {
    files.push_back(std::filesystem::path(copy->state_file).parent_path());
    files.push_back(machine.qemu.preload_path);
  }
  return files;
}

// How the machine starts, as the warden is told.
void Set(const vmm::Boot& /*from*/, pb::Machine& message) { message.mutable_boot(); }

void Set(const vmm::Copy& from, pb::Machine& message) {
  message.mutable_copy()->set_memory_path(from.memory_file);
  message.mutable_copy()->set_state_path(from.state_file);
}

// By the connection that the warden was started with.
void Set(const vmm::Fork& /*from*/, pb::Machine& message) { message.mutable_fork(); }

}  // namespace

Result<WardenLink> StartWarden(asio::any_io_executor executor, const Settings& settings,
                               const Layout& layout, const SandboxId& id, const MachineShape& shape,
                               const Origin& origin, Purpose purpose) {
  WardenLink link;
  os::UniqueFd listener;
  os::UniqueFd connection;
  if (purpose == Purpose::kHold) {
    CR_TRY_ASSIGN(listener, os::ListenUnix(layout.ForkSocket(id)));
  } else if (const auto* const fork = std::get_if<vmm::Fork>(&origin.from)) {
    CR_TRY_ASSIGN(connection, os::ConnectUnix(fork->socket));
  }
  WardenSpec spec{.program = settings.warden_program.string(),
                  .sandbox_id = id,
                  .folder = layout.Sandbox(id),
                  .readable = FilesOf(shape, origin.from),
                  .writable = {layout.Disk(id), layout.TemplateMemory(id)},
                  .user = {},
                  .fork_listener = listener.get(),
                  .fork_connection = connection.get()};
  CR_TRY_ASSIGN(spec.user, GiveToUser(settings.users, layout, id));
  if (settings.cgroups) {
    // Those that are forked from it are born in its groups.
    const uint64_t machines = purpose == Purpose::kHold ? kForksAtOnce : 1;
    const auto bytes = static_cast<uint64_t>(shape.memory_mib + kOverheadMib) << 20;
    CR_TRY_ASSIGN(link.groups,
                  settings.cgroups->Make(id.text(), {.memory_bytes = bytes * machines,
                                                     .processes = kProcesses * machines}));
  }
  CR_TRY_ASSIGN(auto process, WardenProcess::Start(spec));
  link.process = std::move(process);
  CR_TRY_ASSIGN(link.channel, ConnectWarden(std::move(executor), layout, id));
  return link;
}

Awaitable<void> EnterGroups(BlockingPool& pool, std::vector<std::string> groups, pid_t pid) {
  if (groups.empty()) co_return;
  auto work = [groups, pid] { return os::MoveInto(groups, pid); };
  const auto moved = co_await pool.Run(work);
  if (!moved)
    Log(LogLevel::kWarn, "a warden has no limits", Field("warden_pid", pid),
        Field("error", moved.error()));
}

Awaitable<void> LeaveHeldGroups(BlockingPool& pool, SandboxId id, std::vector<std::string> from,
                                std::vector<std::string> to, pid_t pid) {
  if (from.empty() || to.empty()) co_return;
  auto work = [id, from, to, pid]() -> Result<void> {
    CR_TRY_ASSIGN(const std::string line,
                  os::ReadFile(fmt::format("/proc/{}/cmdline", pid), kCommandLineBytes));
    if (line.find(id.text()) == std::string::npos) {
      return Err(ErrorCode::kPermissionDenied, "it is not this sandbox's machine");
    }
    return os::MoveFrom(from, to, pid);
  };
  const auto moved = co_await pool.Run(work);
  if (!moved)
    Log(LogLevel::kWarn, "a machine monitor has no limits", Field("vmm_pid", pid),
        Field("error", moved.error()));
}

Result<std::shared_ptr<rpc::Channel>> ConnectWarden(asio::any_io_executor executor,
                                                    const Layout& layout, const SandboxId& id) {
  CR_TRY_ASSIGN(auto socket, os::ConnectUnix(layout.WardenSocket(id)));
  return std::shared_ptr<rpc::Channel>(
      rpc::Channel::Create(http::AdoptSocket(std::move(executor), socket.release()), {}));
}

Awaitable<void> KillWarden(WardenLink& link) {
  co_await asio::this_coro::reset_cancellation_state();  // whoever is cancelled still cleans up
  if (link.process && link.channel && link.channel->alive()) {
    rpc::CallOptions options;
    options.deadline = std::chrono::steady_clock::now() + kStopWait;
    auto stopped = co_await pb::WardenStub(*link.channel).Stop({}, options);
    (void)stopped;
  }
  if (link.process) link.process->Kill();
  if (link.channel) co_await link.channel->Close();
  if (!link.process) co_return;
  const bool gone = co_await link.process->WaitEnd(std::chrono::steady_clock::now() + kKillWait);
  if (!gone)
    Log(LogLevel::kError, "a killed warden does not end", Field("warden_pid", link.process->pid()));
  link = {};
}

Origin FromTemplate(const vmm::Template& saved) {
  return {.from = vmm::Copy{.memory_file = saved.memory_file, .state_file = saved.state_file},
          .disk_file = saved.disk_file};
}

pb::Machine ToMessage(const MachineShape& shape, const std::string& disk,
                      const vmm::StartFrom& from) {
  pb::Machine message;
  message.set_backend(shape.backend);
  message.set_kernel_path(shape.machine.kernel_path);
  message.set_initrd_path(shape.machine.initrd_path);
  message.set_vmm_path(shape.machine.vmm_path);
  message.set_accelerator(shape.machine.accelerator);
  message.set_tsc_khz(shape.machine.tsc_khz);
  message.set_image_path(shape.image.path);
  message.set_disk_path(disk);
  message.set_vcpus(shape.vcpus);
  message.set_memory_mib(shape.memory_mib);
  message.mutable_qemu()->set_preload_path(shape.machine.qemu.preload_path);
  std::visit([&](const auto& one) { Set(one, message); }, from);
  return message;
}

vmm::TemplateInputs InputsOf(const MachineShape& shape) {
  return {.image_digest = shape.image_digest,
          .image_file = vmm::ImageFileIdentity(shape.image.path),
          .machine = shape.machine.identity,
          .vcpus = shape.vcpus,
          .memory_mib = shape.memory_mib,
          .disk_mib = shape.disk_mib};
}

}  // namespace cleanroom::server
