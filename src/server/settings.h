// Settings of the control plane, from flags over the config file over defaults; fixed while it
// runs.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "os/cgroup/cgroup.h"

namespace cleanroom::server {

// The time, passed in so that tests can move it.
using WallClock = std::function<std::chrono::system_clock::time_point()>;

// Time that passes evenly, whatever becomes of the wall clock. Not while the host is suspended.
using SteadyClock = std::function<std::chrono::steady_clock::time_point()>;

inline int64_t MicrosOf(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

// Ids of the host that the users of sandboxes are chosen from.
struct UserRange {
  uid_t first = 0;
  uint32_t count = 0;
  bool operator==(const UserRange&) const = default;
};

inline constexpr int64_t kDefaultLaunchSeconds = 30;

struct Settings {
  std::filesystem::path state_dir;    // records, folders of sandboxes, output of executions
  std::filesystem::path cache_dir;    // images, kernels: may be deleted while no daemon runs
  std::filesystem::path runtime_dir;  // the default socket
  std::filesystem::path warden_program;

  std::string default_backend = "qemu";
  // What a sandbox has at least; the policy and the request can only ask for more.
  int32_t vcpus = 2;
  int64_t memory_mib = 1024;
  int64_t disk_mib = 8192;                         // sparse: costs what is written
  int64_t launch_seconds = kDefaultLaunchSeconds;  // boot, without what the image takes
  int64_t ttl_minutes = 60;                        // idle limit
  // DNS servers for names of sandboxes, "address:port"; empty: those of resolv_conf.
  std::vector<std::string> resolvers;
  std::filesystem::path resolv_conf = "/etc/resolv.conf";

  // Patterns of hosts whose repositories may be fetched by plain http.
  std::vector<std::string> git_http_hosts;

  // Of sandboxes' users; nothing: they run as we do (sandbox_user.h).
  std::optional<UserRange> users;
  // Where the groups of sandboxes are made; nothing: the host offers none, and limits neither the
  // memory nor the processes of a sandbox.
  std::optional<os::Cgroups> cgroups;

  std::chrono::milliseconds stop_grace{2000};  // for the guest to shut down
  // A guest that something waits for and that does not answer for so long is given up.
  std::chrono::seconds guest_silence{120};
  std::chrono::seconds cancel_grace{5};  // from SIGTERM to SIGKILL of a cancelled command
  // Machines that are kept restored and unclaimed, for each template in use; 0 for none.
  int pool_size = 2;
  // One more is held, for others to be forked from, where that is worth it.
  bool pool_hold = true;
  std::optional<int64_t> pool_memory_mib;  // nothing: what the host can spare
  // Retention, by count.
  int64_t keep_sandboxes = 256;
  int64_t keep_executions = 2048;
  int audit_days = 90;  // of the audit log, before today
};

}  // namespace cleanroom::server
