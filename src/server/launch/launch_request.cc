#include "server/launch/launch_request.h"

#include <algorithm>
#include <utility>

#include "base/id.h"
#include "server/launch/policy_gate.h"
#include "vmm/backends/backends.h"

namespace cleanroom::server {

namespace v1 = ::cleanroom::v1;
using std::chrono::steady_clock;

namespace {

Result<int64_t> ResolveIdleLimit(int64_t wish, const policy::CompiledPolicy& policy) {
  if (wish < 0) {
    return Err(ErrorCode::kInvalidArgument, "options.idle_minutes must not be negative");
  }
  const int64_t limit = policy.spec().ttl_minutes;
  return wish > 0 ? std::min(wish, limit) : limit;
}

}  // namespace

Result<LaunchPlan> PlanLaunch(const v1::CreateSandboxRequest& request, const Settings& settings,
                              const std::set<std::string>& capabilities,
                              std::chrono::system_clock::time_point now) {
  const auto since = steady_clock::now();
  LaunchPlan plan;
  store::SandboxRecord& record = plan.record;
  record.backend = request.backend().empty() ? settings.default_backend : request.backend();
  CR_TRY(vmm::CheckBackendName(record.backend));
  if (!request.has_policy()) {
    return Err(ErrorCode::kPolicyInvalid,
               "the request carries no policy: a sandbox without one is not made");
  }
  CR_TRY_ASSIGN(const auto policy, PolicyFromMessage(request.policy()));
  CR_TRY(CheckEnforceable(policy, capabilities));
  const v1::SandboxOptions& options = request.options();
  const Wishes wishes{
      .vcpus = options.vcpus(), .memory_mib = options.memory_mib(), .disk_mib = options.disk_mib()};
  CR_TRY_ASSIGN(const Wishes size, ResolveSize(wishes, FloorsOf(policy), settings));
  CR_TRY_ASSIGN(plan.boot_limit, ResolveBootLimit(options.launch_seconds(), settings));

  record.id = SandboxId::New(now);
  record.policy_hash = policy.hash();
  record.policy_json = policy.CanonicalJson();
  record.image_ref = policy.spec().image.ToString();
  record.image_digest = policy.spec().image.digest;
  record.vcpus = static_cast<int32_t>(size.vcpus);
  record.memory_mib = size.memory_mib;
  record.disk_mib = size.disk_mib;
  record.keep = options.keep();
  CR_TRY_ASSIGN(record.ttl_minutes, ResolveIdleLimit(options.idle_minutes(), policy));
  record.created_us = record.updated_us = record.last_activity_us = MicrosOf(now);
  const std::chrono::duration<double, std::milli> spent = steady_clock::now() - since;
  record.phases.push_back({"policy", spent.count()});
  return plan;
}

MachineShape ShapeOf(const store::SandboxRecord& record, LaunchImage image, LaunchMachine machine) {
  return {.backend = record.backend,
          .image_digest = record.image_digest,
          .image = std::move(image),
          .machine = std::move(machine),
          .vcpus = record.vcpus,
          .memory_mib = record.memory_mib,
          .disk_mib = record.disk_mib};
}

}  // namespace cleanroom::server
