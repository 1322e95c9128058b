#include "server/sandboxes/launcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cleanroom/internal/v1/warden.rpc.h"
#include "image/disk.h"
#include "os/file.h"
#include "server/host/host_resolvers.h"
#include "server/launch/launch_request.h"
#include "server/plain_text.h"
#include "server/warden/remains.h"
#include "telemetry/log.h"

namespace cleanroom::server {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

using std::chrono::steady_clock;

// Beyond the boot's own limit, which the warden keeps: only for a warden that does not answer.
constexpr std::chrono::seconds kLaunchSlack{5};

// A copy of a template answers in a fraction of it, or never; then it is booted.
constexpr std::chrono::seconds kCopyLimit{10};

}  // namespace

Launcher::Launcher(asio::any_io_executor executor, SandboxContext& context, TaskScope& tasks,
                   store::SandboxRecord& record, SandboxMachine& machine, LaunchHooks hooks)
    : executor_(std::move(executor)),
      context_(context),
      tasks_(tasks),
      record_(record),
      machine_(machine),
      hooks_(std::move(hooks)) {}

Result<void> Launcher::StopAsked() const {
  if (hooks_.stop_asked())
    return Err(ErrorCode::kCanceled, "the sandbox was ended while it was being created");
  return {};
}

// The task is cancelled when a stop is asked for; steps on the pool forget that, so each is
// followed by a check.
Awaitable<Result<void>> Launcher::Launch(LaunchPlan plan, std::optional<Spare> spare) {
  machine_.image_use = context_.resources.UseImage(record_.image_digest);
  Result<void> launched;
  if (spare) {
    launched = co_await LaunchSpare(*std::move(spare), plan.boot_limit);
    if (launched || !IsMachineTrouble(launched.error().code())) co_return launched;
    auto again = co_await StartOver(launched.error(), "spare machine");
    CR_CO_TRY(again);
  }
  auto found = co_await FindParts();
  CR_CO_TRY(found);
  auto held = context_.warm.FindHeld(machine_.shape);
  if (held) {
    launched = co_await LaunchFrom(*std::move(held), CopyLimit(plan.boot_limit));
    if (launched || !IsMachineTrouble(launched.error().code())) co_return launched;
    context_.warm.DropHeld(machine_.shape);
    auto again = co_await StartOver(launched.error(), "fork of a held machine");
    CR_CO_TRY(again);
  }
  auto since = steady_clock::now();
  const auto from = co_await context_.warm.Find(machine_.shape);
  CR_CO_TRY(StopAsked());
  record_.phases.push_back(PhaseSince("template", since));
  if (from) {
    launched = co_await LaunchFrom(FromTemplate(*from), CopyLimit(plan.boot_limit));
    if (launched || !IsMachineTrouble(launched.error().code())) co_return launched;
    // What failed before that was the host's doing.
    if (machine_begun_) co_await context_.warm.Distrust(machine_.shape);
    auto again = co_await StartOver(launched.error(), "copy of a template");
    CR_CO_TRY(again);
  }
  launched = co_await LaunchFrom(Origin(), plan.boot_limit);
  co_return launched;
}

Awaitable<Result<void>> Launcher::StartOver(const Error& why, std::string_view what) {
  CR_CO_TRY(StopAsked());
  Log(LogLevel::kWarn, fmt::format("a {} did not start, going on without", what),
      Field("sandbox_id", record_.id), Field("error", why));
  co_await KillWarden(machine_.link);
  auto removed =
      co_await RemoveRemains(context_.pool, context_.settings, context_.layout, record_.id);
  CR_CO_TRY(removed);
  CR_CO_TRY(StopAsked());
  co_return Result<void>();
}

std::chrono::milliseconds Launcher::CopyLimit(std::chrono::milliseconds boot_limit) const {
  return std::min(boot_limit, OnThisHost(kCopyLimit, context_.settings));
}

Awaitable<Result<void>> Launcher::LaunchSpare(Spare spare, std::chrono::milliseconds boot_limit) {
  machine_.shape = std::move(spare.shape);
  machine_.shape.image.was_present = true;
  machine_.link = std::move(spare.link);
  record_.accelerator = machine_.shape.machine.accelerator;
  auto started =
      co_await Start(pb::LaunchRequest(), CopyLimit(boot_limit), std::vector<std::string>());
  co_return started;
}

Awaitable<Result<void>> Launcher::FindParts() {
  auto since = steady_clock::now();
  auto image = co_await context_.resources.Image(record_.image_ref, hooks_.progress);
  CR_CO_TRY(StopAsked());
  if (!image) co_return Err(std::move(image).error());
  record_.phases.push_back(PhaseSince("image", since));

  since = steady_clock::now();
  auto machine = co_await context_.resources.Machine(record_.backend, hooks_.progress);
  CR_CO_TRY(StopAsked());
  if (!machine) co_return Err(std::move(machine).error());
  record_.accelerator = machine->accelerator;
  record_.phases.push_back(PhaseSince("kernel", since));
  machine_.shape = ShapeOf(record_, *std::move(image), *std::move(machine));
  co_return Result<void>();
}

Awaitable<Result<void>> Launcher::LaunchFrom(Origin origin, std::chrono::milliseconds limit) {
  machine_begun_ = false;
  hooks_.progress({.phase = "boot", .message = "starting the machine"});
  auto since = steady_clock::now();
  const std::string disk = context_.layout.Disk(record_.id);
  CR_CO_TRY(os::MakeDirs(context_.layout.LiveOutputs(record_.id)));
  Result<void> made;
  if (!origin.disk_file.empty()) {
    const std::string source = origin.disk_file;
    auto work = [source, disk] { return image::CopyDisk(source, disk); };
    made = co_await context_.pool.Run(work);
  } else {
    made = co_await context_.resources.MakeDisk(disk, record_.disk_mib);
  }
  CR_CO_TRY(StopAsked());
  CR_CO_TRY(made);
  record_.phases.push_back(PhaseSince("disk", since));

  since = steady_clock::now();
  CR_CO_TRY_ASSIGN(machine_.link, StartWarden(executor_, context_.settings, context_.layout,
                                              record_.id, machine_.shape, origin));
  tasks_.Spawn(EnterGroups(context_.pool, machine_.link.groups, machine_.link.process->pid()));
  record_.phases.push_back(PhaseSince("warden", since));
  pb::LaunchRequest request;
  *request.mutable_machine() = ToMessage(machine_.shape, disk, origin.from);
  auto started = co_await Start(std::move(request), limit, std::move(origin.groups));
  co_return started;
}

Awaitable<Result<void>> Launcher::Start(pb::LaunchRequest request, std::chrono::milliseconds limit,
                                        std::vector<std::string> born_in) {
  machine_begun_ = false;
  request.set_deadline_ms(limit.count());
  for (const std::string& variable : machine_.shape.image.env) request.add_env(variable);
  // What every program may know; an image cannot say otherwise.
  for (const char* variable : {"CI=true", "CLEANROOM=1"}) request.add_env(variable);
  request.add_env("CLEANROOM_SANDBOX_ID=" + record_.id.text());
  if (record_.checkout) request.add_env("CLEANROOM_COMMIT=" + record_.checkout->commit);
  request.set_workdir(record_.checkout ? record_.checkout->path : machine_.shape.image.workdir);
  request.set_user(machine_.shape.image.user);
  request.set_policy_json(record_.policy_json);
  request.set_guest_silence_ms(std::chrono::milliseconds(context_.settings.guest_silence).count());
  for (std::string& server : HostResolvers(context_.settings)) {
    request.add_resolvers(std::move(server));
  }

  rpc::CallOptions options;
  options.deadline = steady_clock::now() + limit + kLaunchSlack;
  auto events = co_await pb::WardenStub(*machine_.link.channel).Launch(std::move(request), options);
  if (!events) co_return Err(std::move(events).error());
  for (;;) {
    auto event = co_await events->Next();
    if (!event) co_return Err(std::move(event).error());
    if (!*event)
      co_return Err(ErrorCode::kUnavailable, "the warden ended the launch without a word");
    if ((*event)->has_ready()) {
      const pid_t vmm = (*event)->ready().vmm_pid();
      tasks_.Spawn(LeaveHeldGroups(context_.pool, record_.id, std::move(born_in),
                                   machine_.link.groups, vmm));
      co_return Result<void>();
    }
    machine_begun_ = machine_begun_ || (*event)->has_begun();
    if (!(*event)->has_phase()) continue;
    const pb::LaunchPhase& phase = (*event)->phase();
    record_.phases.push_back({PlainText(phase.name(), 64), phase.milliseconds()});
    hooks_.progress({.phase = phase.name(), .message = ""});
  }
}

}  // namespace cleanroom::server
