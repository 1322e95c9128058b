#include "server/launch/launch_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/machine_limits.h"

namespace cleanroom::server {
namespace {

constexpr int64_t kMaxLaunchSeconds = 3600;

enum class Unit { kOne, kMib };

std::string Show(int64_t value, Unit unit) {
  if (unit == Unit::kOne) return std::to_string(value);
  if (value % 1024 == 0) return fmt::format("{} GiB", value / 1024);
  return fmt::format("{} MiB", value);
}

// `in_request`, `in_policy`: what the wish is called there.
Result<int64_t> Resolve(std::string_view in_request, std::string_view in_policy, Unit unit,
                        int64_t request, int64_t policy, int64_t host, int64_t limit) {
  const std::pair<std::string_view, int64_t> wishes[] = {{in_request, request},
                                                         {in_policy, policy}};
  for (const auto& [name, wish] : wishes) {
    if (wish < 0)
      return Err(ErrorCode::kInvalidArgument, fmt::format("{} must not be negative", name));
    if (wish > limit) {
      return Err(ErrorCode::kInvalidArgument,
                 fmt::format("{} asks for {}; a sandbox has at most {}", name, Show(wish, unit),
                             Show(limit, unit)));
    }
  }
  return std::max({request, policy, host});
}

}  // namespace

Result<Wishes> ResolveSize(const Wishes& request, const Wishes& policy, const Settings& settings) {
  Wishes size;
  CR_TRY_ASSIGN(size.vcpus, Resolve("options.vcpus", "sandbox.resources.vcpus", Unit::kOne,
                                    request.vcpus, policy.vcpus, settings.vcpus, kMaxVcpus));
  CR_TRY_ASSIGN(size.memory_mib,
                Resolve("options.memory_mib", "sandbox.resources.memory", Unit::kMib,
                        request.memory_mib, policy.memory_mib, settings.memory_mib, kMaxMemoryMib));
  CR_TRY_ASSIGN(size.disk_mib,
                Resolve("options.disk_mib", "sandbox.resources.disk", Unit::kMib, request.disk_mib,
                        policy.disk_mib, settings.disk_mib, kMaxDiskMib));
  return size;
}

Result<std::chrono::seconds> ResolveBootLimit(int64_t request_seconds, const Settings& settings) {
  if (request_seconds < 0 || request_seconds > kMaxLaunchSeconds) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("launch_seconds must be between 0 (the host's default) and {}, not {}",
                           kMaxLaunchSeconds, request_seconds));
  }
  return std::chrono::seconds(request_seconds > 0 ? request_seconds : settings.launch_seconds);
}

std::chrono::milliseconds OnThisHost(std::chrono::milliseconds limit, const Settings& settings) {
  return limit * std::max(settings.launch_seconds, kDefaultLaunchSeconds) / kDefaultLaunchSeconds;
}

}  // namespace cleanroom::server
