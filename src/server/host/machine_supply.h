// MachineSupply: the kernel, the initramfs and the accelerator that every sandbox boots with, found
// or made once.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/async.h"
#include "server/check_source.h"
#include "server/launch/launch_resources.h"

namespace cleanroom::server {

struct MachineConfig {
  std::string qemu_binary = "qemu-system-x86_64";
  std::string kernel_image;  // empty: the managed kernel
  std::string accel = "auto";
  std::chrono::seconds launch_limit{30};  // for a boot
  std::filesystem::path agent;            // cleanroom-guest
  std::filesystem::path preload;          // cleanroom-qemu-preload.so
  std::filesystem::path cache_dir;        // kernels, initramfs
  std::filesystem::path state_dir;        // the accelerator's verdict
};

// Everything a machine needs, with the reason for its accelerator.
struct PreparedMachine {
  LaunchMachine machine;
  std::string kernel_version;
  std::string accelerator_reason;
};

class MachineSupply : public CheckSource {
 public:
  MachineSupply(asio::any_io_executor executor, MachineConfig config);

  // Prepares on first use, a download of the kernel included; callers share the work, and a failure
  // is tried again by the next. Cancelling the task gives up the wait only.
  Awaitable<Result<PreparedMachine>> Get(ProgressFn progress);
  // Begins to prepare, unless that would need a download.
  void WarmUp();
  // Nothing before the first success.
  const std::optional<PreparedMachine>& prepared() const { return prepared_; }
  // Why the last attempt failed; not_found where there was no kernel and none was to be fetched.
  const std::optional<Error>& failure() const { return failure_; }
  // Notified when that changes.
  Notifier& changed() { return changed_; }
  const MachineConfig& config() const { return config_; }

  // The guest kernel and the accelerator, as far as they are known: makes nothing.
  Awaitable<std::vector<capability::Check>> Checks() override;

  Awaitable<void> Shutdown();

 private:
  enum class Download { kAllowed, kNever };
  Awaitable<void> Prepare(Download download);

  asio::any_io_executor executor_;
  MachineConfig config_;
  BlockingPool pool_{1};
  TaskScope tasks_;
  Notifier changed_;
  bool preparing_ = false;
  std::string step_;  // what is being done
  std::optional<PreparedMachine> prepared_;
  std::optional<Error> failure_;
};

}  // namespace cleanroom::server
