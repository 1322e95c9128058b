#include "server/host/machine_supply.h"

#include <fmt/format.h>

#include <functional>

#include "os/file.h"
#include "telemetry/log.h"
#include "vmm/accelerator.h"
#include "vmm/backends/backends.h"
#include "vmm/boot_probe.h"
#include "vmm/kernel/initramfs.h"
#include "vmm/kernel/kernel_store.h"
#include "vmm/template_store.h"
#include "vmm/tsc.h"

namespace cleanroom::server {
namespace {

using capability::Check;
using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

using Say = std::function<void(std::string_view)>;

Result<vmm::Kernel> GetKernel(const MachineConfig& config, bool download, const Say& say) {
  vmm::KernelStoreConfig store_config;
  store_config.directory = config.cache_dir / "kernels";
  const vmm::KernelStore store(store_config);
  if (!config.kernel_image.empty()) return store.UseImage(config.kernel_image);
  CR_TRY_ASSIGN(auto found, store.Find());
  if (found) return std::move(*found);
  if (!download) return Err(ErrorCode::kNotFound, "no managed kernel yet");
  return store.Ensure(say);
}

// Blocks; for the pool.
Result<PreparedMachine> PrepareMachine(const MachineConfig& config, bool download, const Say& say) {
  CR_TRY_ASSIGN(const auto backend,
                vmm::OpenBackend(
                    "qemu", {.qemu = {.binary = config.qemu_binary, .preload = config.preload}}));
  PreparedMachine prepared;
  CR_TRY_ASSIGN(prepared.machine.vmm_path, backend->FindBinary());
  say("looking for the kernel");
  CR_TRY_ASSIGN(const auto kernel, GetKernel(config, download, say));
  prepared.kernel_version = kernel.version;
  prepared.machine.kernel_path = kernel.vmlinux;
  say("making the initramfs");
  CR_TRY_ASSIGN(prepared.machine.initrd_path,
                vmm::EnsureInitramfs(config.cache_dir / "initramfs", kernel, config.agent));

  prepared.machine.qemu.preload_path = config.preload;
  CR_TRY_ASSIGN(prepared.machine.tsc_khz, vmm::MeasureTscKhz());

  say("choosing the accelerator");
  CR_TRY_ASSIGN(const auto choice, vmm::ParseAcceleratorChoice(config.accel));
  CR_TRY_ASSIGN(const auto key, vmm::MakeVerdictKey(kernel.digest, prepared.machine.vmm_path));
  const vmm::VerdictStore verdicts{.path = vmm::VerdictPath(config.state_dir), .key = key};
  const vmm::Trial trial{.kernel = prepared.machine.kernel_path,
                         .initrd = prepared.machine.initrd_path,
                         .tsc_khz = prepared.machine.tsc_khz,
                         .launch_limit = config.launch_limit};
  CR_TRY_ASSIGN(const auto decision, vmm::DecideAccelerator(*backend, choice, trial, verdicts));
  prepared.machine.accelerator = vmm::ToString(decision.accelerator);
  prepared.machine.can_hold = backend->CanHold(decision.accelerator);
  prepared.accelerator_reason = decision.reason;
  prepared.machine.identity =
      vmm::MachineIdentity(key, prepared.machine.initrd_path, prepared.machine.accelerator);
  return prepared;
}

}  // namespace

MachineSupply::MachineSupply(asio::any_io_executor executor, MachineConfig config)
    : executor_(executor), config_(std::move(config)), tasks_(executor), changed_(executor) {}

void MachineSupply::WarmUp() {
  if (preparing_ || prepared_) return;
  preparing_ = true;
  tasks_.Spawn(Prepare(Download::kNever));
}

Awaitable<Result<PreparedMachine>> MachineSupply::Get(ProgressFn progress) {
  std::string told;
  bool ours = false;  // whether the work that ended was started for us, or after us
  while (!prepared_) {
    if (!preparing_) {
      if (ours && failure_) co_return Err(*failure_);
      preparing_ = true;
      ours = true;
      failure_.reset();
      tasks_.Spawn(Prepare(Download::kAllowed));
    }
    co_await changed_.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled)
      co_return Err(ErrorCode::kCanceled, "cancelled while the kernel was being prepared");
    if (progress && step_ != told) {
      told = step_;
      progress({.phase = "kernel", .message = step_});
    }
  }
  co_return *prepared_;
}

Awaitable<void> MachineSupply::Prepare(Download download) {
  const auto executor = executor_;
  const Say say = [this, executor](std::string_view step) {
    asio::post(executor, [this, step = std::string(step)] {
      step_ = step;
      changed_.NotifyAll();
    });
  };
  const bool allowed = download == Download::kAllowed;
  auto work = [this, allowed, say] { return PrepareMachine(config_, allowed, say); };
  auto prepared = co_await pool_.Run(work);
  preparing_ = false;
  if (prepared) {
    prepared_ = std::move(*prepared);
    Log(LogLevel::kInfo, "machines are prepared", Field("kernel", prepared_->kernel_version),
        Field("accelerator", prepared_->machine.accelerator),
        Field("reason", prepared_->accelerator_reason));
  } else {
    failure_ = std::move(prepared).error();
    Log(LogLevel::kInfo, "machines are not prepared", Field("error", *failure_));
  }
  changed_.NotifyAll();
}

Awaitable<std::vector<Check>> MachineSupply::Checks() {
  if (prepared_) {
    const bool kvm = prepared_->machine.accelerator == "kvm";
    co_return std::vector<Check>{
        {"kernel", Check::Status::kOk, fmt::format("guest kernel {}", prepared_->kernel_version),
         ""},
        {"machines", kvm ? Check::Status::kOk : Check::Status::kWarn,
         fmt::format("{}: {}", prepared_->machine.accelerator, prepared_->accelerator_reason),
         kvm ? "" : "for speed, use a host with hardware virtualisation"}};
  }
  if (failure_ && failure_->code() != ErrorCode::kNotFound) {
    co_return std::vector<Check>{
        {"machines", Check::Status::kFail, failure_->message(),
         "the next sandbox tries again; a change of the config counts once "
         "the daemon has started again"}};
  }
  co_return std::vector<Check>{{"kernel", Check::Status::kWarn,
                                "the guest kernel is not prepared yet",
                                "the first sandbox prepares it, which may take minutes"}};
}

Awaitable<void> MachineSupply::Shutdown() { co_await tasks_.Join(); }

}  // namespace cleanroom::server
