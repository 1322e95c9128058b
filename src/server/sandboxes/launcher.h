// Launcher: the ways to get a machine for one sandbox. The quickest that there is goes first, and
// one that fails gives way to the next: a spare machine, a fork of a held one, a copy of a
// template, a boot.
//
// It lives as long as one launch, within a task of its sandbox that is cancelled when the sandbox
// is asked to stop. What it has made so far stands in the SandboxMachine, whose owner ends it,
// whatever comes of the launch.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/async.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "server/launch/launch_plan.h"
#include "server/progress.h"
#include "server/sandboxes/sandbox_context.h"
#include "server/warden/warden_link.h"
#include "server/warm/warm_start.h"
#include "store/records.h"

namespace cleanroom::server {

// The machine of one sandbox, as far as it is made.
struct SandboxMachine {
  MachineShape shape;
  std::shared_ptr<void> image_use;  // keeps the image from being removed
  WardenLink link;
};

// What a launch tells its sandbox, and asks it.
struct LaunchHooks {
  // May be called after the launch has been cancelled, too.
  ProgressFn progress;
  std::function<bool()> stop_asked;
};

class Launcher {
 public:
  // `record` gets the phases and the accelerator; tasks that outlive the launch go to `tasks`. All
  // references outlive the launcher.
  Launcher(asio::any_io_executor executor, SandboxContext& context, TaskScope& tasks,
           store::SandboxRecord& record, SandboxMachine& machine, LaunchHooks hooks);

  // Returns when the guest has its identity. kCanceled when a stop was asked for.
  Awaitable<Result<void>> Launch(LaunchPlan plan, std::optional<Spare> spare);

 private:
  Awaitable<Result<void>> LaunchSpare(Spare spare, std::chrono::milliseconds boot_limit);
  // For a machine that need not boot.
  std::chrono::milliseconds CopyLimit(std::chrono::milliseconds boot_limit) const;
  // Image, kernel and VMM.
  Awaitable<Result<void>> FindParts();
  Awaitable<Result<void>> LaunchFrom(Origin origin, std::chrono::milliseconds limit);
  // What the machine runs with, policy included, and what it takes until it is ready.
  // `born_in`: the control groups of the machine that ours is a fork of.
  Awaitable<Result<void>> Start(pb::LaunchRequest request, std::chrono::milliseconds limit,
                                std::vector<std::string> born_in);
  // Back to before the warden: nothing of the attempt is left.
  Awaitable<Result<void>> StartOver(const Error& why, std::string_view what);
  Result<void> StopAsked() const;

  asio::any_io_executor executor_;
  SandboxContext& context_;
  TaskScope& tasks_;
  store::SandboxRecord& record_;
  SandboxMachine& machine_;
  LaunchHooks hooks_;
  bool machine_begun_ = false;  // the attempt under way has come so far as to start a machine
};

}  // namespace cleanroom::server
