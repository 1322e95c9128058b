#include "server/launch_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/admission.h"

namespace cleanroom::server {
namespace {

constexpr int64_t kMaxLaunchSeconds = 3600;

Result<int64_t> Resolve(const char* name, int64_t request, int64_t policy, int64_t host,
                        int64_t limit) {
  if (request < 0 || request > limit || policy < 0 || policy > limit) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("{} must be between 0 (no wish) and {}, not {}", name, limit,
                           request < 0 || request > limit ? request : policy));
  }
  return std::max({request, policy, host});
}

}  // namespace

Result<Wishes> ResolveSize(const Wishes& request, const Wishes& policy, const Settings& settings) {
  Wishes size;
  CR_TRY_ASSIGN(size.vcpus,
                Resolve("vcpus", request.vcpus, policy.vcpus, settings.vcpus, kMaxVcpus));
  CR_TRY_ASSIGN(size.memory_mib, Resolve("memory in MiB", request.memory_mib, policy.memory_mib,
                                         settings.memory_mib, kMaxMemoryMib));
  CR_TRY_ASSIGN(size.disk_mib, Resolve("disk in MiB", request.disk_mib, policy.disk_mib,
                                       settings.disk_mib, kMaxDiskMib));
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

}  // namespace cleanroom::server
