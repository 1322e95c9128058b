// What every sandbox of this host uses, and how its steps are timed.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include "base/async.h"
#include "server/launch/checkouts.h"
#include "server/launch/launch_resources.h"
#include "server/layout.h"
#include "server/settings.h"
#include "server/warm/warm_start.h"
#include "store/records.h"

namespace cleanroom::server {

// All of it outlives the sandboxes.
struct SandboxContext {
  store::RecordStore& store;
  LaunchResources& resources;
  WarmStart& warm;
  Checkouts& checkouts;
  BlockingPool& pool;
  const Settings& settings;
  const Layout& layout;
  WallClock clock;
  SteadyClock steady = [] { return std::chrono::steady_clock::now(); };
};

// A step of a sandbox's record that began then and ends now.
inline store::Phase PhaseSince(std::string name, std::chrono::steady_clock::time_point since) {
  const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - since;
  return {std::move(name), spent.count()};
}

}  // namespace cleanroom::server
