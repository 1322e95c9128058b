// WarmUp: makes ready what sandboxes of one kind start from, before anybody asks for one.
#pragma once

#include <cstdint>
#include <string>

#include "base/async.h"
#include "server/launch/launch_plan.h"
#include "server/launch/launch_resources.h"
#include "server/warm/templates.h"
#include "server/warm/warm_start.h"

namespace cleanroom::server {

struct WarmedUp {
  std::string key;  // of the template
  uint64_t disk_bytes = 0;
  double milliseconds = 0;
  bool was_present = false;  // image and template
  std::string image_ref;
};

class WarmUp {
 public:
  // All outlives it.
  WarmUp(LaunchResources& resources, Templates& templates, WarmStart& warm)
      : resources_(resources), templates_(templates), warm_(warm) {}

  // The image, the kernel and the template of the planned sandbox's machine, each made if it is
  // missing; then spare machines of the kind are prepared. resource_exhausted when the host has no
  // room for such a machine. Cancelling the task gives up the wait, and a pull that nobody else
  // wants.
  Awaitable<Result<WarmedUp>> Run(LaunchPlan plan, ProgressFn progress);

 private:
  Awaitable<uint64_t> SizeOf(std::string key);

  LaunchResources& resources_;
  Templates& templates_;
  WarmStart& warm_;
};

}  // namespace cleanroom::server
