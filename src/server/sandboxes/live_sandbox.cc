#include "server/sandboxes/live_sandbox.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "image/disk.h"
#include "os/file.h"
#include "server/convert.h"
#include "server/host/host_resolvers.h"
#include "server/launch/launch_request.h"
#include "server/plain_text.h"
#include "server/warden/remains.h"
#include "warden_link/procedures.h"

namespace cleanroom::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Beyond the boot's own limit, which the warden keeps: only for a warden that does not answer.
constexpr std::chrono::seconds kLaunchSlack{5};
constexpr std::chrono::seconds kWardenExitWait{2};
constexpr std::chrono::seconds kWardenKillWait{10};

// A copy of a template answers in a fraction of it, or never; then it is booted.
constexpr std::chrono::seconds kCopyLimit{10};

// What says that another way to start the machine is worth trying.
bool IsMachineTrouble(const Error& error) {
  return error.code() == ErrorCode::kRuntimeLaunchFailed ||
         error.code() == ErrorCode::kDeadlineExceeded || error.code() == ErrorCode::kUnavailable ||
         error.code() == ErrorCode::kDataCorrupt || error.code() == ErrorCode::kInternal ||
         error.code() == ErrorCode::kPermissionDenied || error.code() == ErrorCode::kNotFound ||
         error.code() == ErrorCode::kFailedPrecondition;
}

}  // namespace

LiveSandbox::LiveSandbox(asio::any_io_executor executor, SandboxContext& context,
                         SandboxObserver& observer, store::SandboxRecord record)
    : executor_(executor),
      context_(context),
      observer_(observer),
      record_(std::move(record)),
      changed_(executor),
      tasks_(executor) {
  // One that is found again has been idle for as long as the wall clock says.
  const std::chrono::microseconds idle(MicrosOf(context_.clock()) - record_.last_activity_us);
  idle_since_ = context_.steady() - std::max(idle, std::chrono::microseconds(0));
}

void LiveSandbox::RequestStop(std::string reason) {
  if (stop_reason_ || failure_ || ended_) return;
  stop_reason_ = std::move(reason);
  changed_.NotifyAll();
}

Awaitable<void> LiveSandbox::Create(LaunchPlan plan, std::optional<Spare> spare) {
  const auto start = steady_clock::now();
  tasks_.Spawn(LaunchTask(std::move(plan), std::move(spare)));
  while (!launched_ && !stop_reason_) co_await changed_.Wait();
  if (!launched_) tasks_.Cancel();
  while (!launched_) co_await changed_.Wait();
  if (!*launched_) {
    SetFinal(launched_->error());
  } else if (!stop_reason_) {
    AddPhase("total", start);
    auto entered = Enter(store::SandboxStatus::kReady, "ready");
    if (entered) {
      context_.warm.Launched(shape_);
      co_await Serve();
    } else {
      SetFinal(entered.error());
    }
  }
  co_await End();
}

Awaitable<void> LiveSandbox::Adopt(WardenProcess warden) {
  link_.process = std::move(warden);
  image_use_ = context_.resources.UseImage(record_.image_digest);
  shape_.image.was_present = true;
  auto connected = ConnectWarden(executor_, context_.layout, id());
  if (connected) {
    link_.channel = std::move(*connected);
    spdlog::info("sandbox found again sandbox_id={} warden_pid={}", id(), link_.process->pid());
    co_await Serve();
  } else {
    SetFinal(connected.error());
  }
  co_await End();
}

Awaitable<void> LiveSandbox::LaunchTask(LaunchPlan plan, std::optional<Spare> spare) {
  auto launched = co_await Launch(std::move(plan), std::move(spare));
  launched_ = std::move(launched);
  changed_.NotifyAll();
}

Result<void> LiveSandbox::StopAsked() const {
  if (stop_reason_)
    return Err(ErrorCode::kCanceled, "the sandbox was ended while it was being created");
  return {};
}

// The task is cancelled when a stop is asked for; steps on the pool forget that, so each is
// followed by a check.
Awaitable<Result<void>> LiveSandbox::Launch(LaunchPlan plan, std::optional<Spare> spare) {
  image_use_ = context_.resources.UseImage(record_.image_digest);
  Result<void> launched;
  if (spare) {
    launched = co_await LaunchSpare(*std::move(spare), plan.boot_limit);
    if (launched || !IsMachineTrouble(launched.error())) co_return launched;
    auto again = co_await StartOver(launched.error(), "spare machine");
    CR_CO_TRY(again);
  }
  auto found = co_await FindParts();
  CR_CO_TRY(found);
  const auto held = context_.warm.FindHeld(shape_);
  if (held) {
    launched = co_await LaunchFrom(held, CopyLimit(plan.boot_limit));
    if (launched || !IsMachineTrouble(launched.error())) co_return launched;
    context_.warm.DropHeld(shape_);
    auto again = co_await StartOver(launched.error(), "fork of a held machine");
    CR_CO_TRY(again);
  }
  auto since = steady_clock::now();
  const auto from = co_await context_.warm.Find(shape_);
  CR_CO_TRY(StopAsked());
  AddPhase("template", since);
  if (from) {
    std::optional<Origin> origin(
        Origin{.disk_file = from->disk_file, .saved = from, .fork_socket = {}, .groups = {}});
    launched = co_await LaunchFrom(std::move(origin), CopyLimit(plan.boot_limit));
    if (launched || !IsMachineTrouble(launched.error())) co_return launched;
    // What failed before that was the host's doing.
    if (machine_begun_) co_await context_.warm.Distrust(shape_);
    auto again = co_await StartOver(launched.error(), "copy of a template");
    CR_CO_TRY(again);
  }
  launched = co_await LaunchFrom(std::nullopt, plan.boot_limit);
  co_return launched;
}

Awaitable<Result<void>> LiveSandbox::StartOver(const Error& why, std::string_view what) {
  CR_CO_TRY(StopAsked());
  spdlog::warn("a {} did not start, going on without sandbox_id={} error=\"{}\"", what, id(),
               why.ToString());
  co_await KillWarden(link_);
  auto removed = co_await RemoveRemains(context_.pool, context_.settings, context_.layout, id());
  CR_CO_TRY(removed);
  CR_CO_TRY(StopAsked());
  co_return Result<void>();
}

milliseconds LiveSandbox::CopyLimit(milliseconds boot_limit) const {
  return std::min(boot_limit, OnThisHost(kCopyLimit, context_.settings));
}

Awaitable<Result<void>> LiveSandbox::LaunchSpare(Spare spare, milliseconds boot_limit) {
  shape_ = std::move(spare.shape);
  shape_.image.was_present = true;
  link_ = std::move(spare.link);
  record_.accelerator = shape_.machine.accelerator;
  auto started =
      co_await Start(pb::LaunchRequest(), CopyLimit(boot_limit), std::vector<std::string>());
  co_return started;
}

Awaitable<Result<void>> LiveSandbox::FindParts() {
  auto self = shared_from_this();
  const ProgressFn progress = [self](ProgressUpdate update) {
    self->TellProgress(std::move(update));
  };
  auto since = steady_clock::now();
  auto image = co_await context_.resources.Image(record_.image_ref, progress);
  CR_CO_TRY(StopAsked());
  if (!image) co_return Err(std::move(image).error());
  AddPhase("image", since);

  since = steady_clock::now();
  auto machine = co_await context_.resources.Machine(record_.backend, progress);
  CR_CO_TRY(StopAsked());
  if (!machine) co_return Err(std::move(machine).error());
  record_.accelerator = machine->accelerator;
  AddPhase("kernel", since);
  shape_ = ShapeOf(record_, *std::move(image), *std::move(machine));
  co_return Result<void>();
}

Awaitable<Result<void>> LiveSandbox::LaunchFrom(std::optional<Origin> from, milliseconds limit) {
  machine_begun_ = false;
  TellProgress({.phase = "boot", .message = "starting the machine"});
  auto since = steady_clock::now();
  const std::string disk = context_.layout.Disk(id());
  CR_CO_TRY(os::MakeDirs(context_.layout.LiveOutputs(id())));
  Result<void> made;
  if (from) {
    const std::string source = from->disk_file;
    auto work = [source, disk] { return image::CopyDisk(source, disk); };
    made = co_await context_.pool.Run(work);
  } else {
    made = co_await context_.resources.MakeDisk(disk, record_.disk_mib);
  }
  CR_CO_TRY(StopAsked());
  CR_CO_TRY(made);
  AddPhase("disk", since);

  since = steady_clock::now();
  CR_CO_TRY_ASSIGN(link_, StartWarden(executor_, context_.settings, context_.layout, id(), shape_,
                                      from ? &*from : nullptr));
  tasks_.Spawn(EnterGroups(context_.pool, link_.groups, link_.process->pid()));
  AddPhase("warden", since);
  pb::LaunchRequest request;
  *request.mutable_machine() = ToMessage(shape_, disk, from ? &*from : nullptr);
  const std::vector<std::string> born_in = from ? from->groups : std::vector<std::string>();
  auto started = co_await Start(std::move(request), limit, born_in);
  co_return started;
}

Awaitable<Result<void>> LiveSandbox::Start(pb::LaunchRequest request, milliseconds limit,
                                           std::vector<std::string> born_in) {
  machine_begun_ = false;
  request.set_deadline_ms(limit.count());
  for (const std::string& variable : shape_.image.env) request.add_env(variable);
  request.set_workdir(shape_.image.workdir);
  request.set_user(shape_.image.user);
  request.set_policy_json(record_.policy_json);
  request.set_guest_silence_ms(milliseconds(context_.settings.guest_silence).count());
  for (std::string& server : HostResolvers(context_.settings)) {
    request.add_resolvers(std::move(server));
  }

  rpc::CallOptions options;
  options.deadline = steady_clock::now() + limit + kLaunchSlack;
  auto events = co_await link_.channel->CallServerStream<pb::LaunchEvent>(
      warden_link::kLaunch, std::move(request), options);
  if (!events) co_return Err(std::move(events).error());
  for (;;) {
    auto event = co_await events->Next();
    if (!event) co_return Err(std::move(event).error());
    if (!*event)
      co_return Err(ErrorCode::kUnavailable, "the warden ended the launch without a word");
    if ((*event)->has_ready()) {
      const pid_t vmm = (*event)->ready().vmm_pid();
      tasks_.Spawn(LeaveHeldGroups(context_.pool, id(), std::move(born_in), link_.groups, vmm));
      co_return Result<void>();
    }
    machine_begun_ = machine_begun_ || (*event)->has_begun();
    if (!(*event)->has_phase()) continue;
    const pb::LaunchPhase& phase = (*event)->phase();
    record_.phases.push_back({PlainText(phase.name(), 64), phase.milliseconds()});
    TellProgress({.phase = phase.name(), .message = ""});
  }
}

Awaitable<void> LiveSandbox::Serve() {
  tasks_.Spawn(Watch());
  observer_.OnReady(shared_from_this());
  changed_.NotifyAll();
  while (!stop_reason_ && !failure_) co_await changed_.Wait();
}

Awaitable<void> LiveSandbox::Watch() {
  std::string reason = "unavailable: the connection to the warden was lost";
  auto states = co_await link_.channel->CallServerStream<pb::WardenState>(warden_link::kWatchState,
                                                                          pb::WatchStateRequest());
  while (states) {
    auto state = co_await states->Next();
    if (!state || !*state) break;
    if ((*state)->phase() == pb::WardenState::PHASE_FAILED ||
        (*state)->phase() == pb::WardenState::PHASE_STOPPED) {
      reason = (*state)->reason();
      if (reason.empty()) reason = "unavailable: the machine ended";
      record_.console_tail = PlainText((*state)->console_tail(), kConsoleBytes);
      break;
    }
  }
  if (!failure_) failure_ = PlainText(reason, kLastWordsBytes);
  changed_.NotifyAll();
}

void LiveSandbox::SetFinal(const Error& error) {
  // What a launch can fail of: the codes that tell a user what to do stay, all others mean that it
  // did not start.
  const bool telling =
      error.code() == ErrorCode::kBackendUnavailable ||
      error.code() == ErrorCode::kBackendCapabilityMismatch ||
      error.code() == ErrorCode::kResourceExhausted || error.code() == ErrorCode::kNotFound ||
      error.code() == ErrorCode::kUpstreamError || error.code() == ErrorCode::kDataCorrupt ||
      error.code() == ErrorCode::kUnauthenticated || error.code() == ErrorCode::kPermissionDenied ||
      error.code() == ErrorCode::kInvalidArgument || error.code() == ErrorCode::kHostNotAllowed ||
      error.code() == ErrorCode::kRuntimeLaunchFailed;
  failure_ = telling ? error.ToString()
                     : Error(ErrorCode::kRuntimeLaunchFailed, error.message()).ToString();
  if (error.code() == ErrorCode::kUnavailable && link_.process) {
    failure_ =
        Error(ErrorCode::kRuntimeLaunchFailed, "the warden ended before the machine was ready")
            .ToString();
  }
}

Awaitable<void> LiveSandbox::End() {
  const auto since = steady_clock::now();
  if (stop_reason_) {
    record_.reason = *stop_reason_;
    (void)Enter(store::SandboxStatus::kStopping, "stopping");
  }
  co_await EndWarden();
  if (link_.channel) co_await link_.channel->Close();
  tasks_.Cancel();
  co_await tasks_.Join();
  if (link_.process && !stop_reason_) ReadEndFile();
  co_await observer_.OnEnding(*this);

  auto removed = co_await RemoveRemains(context_.pool, context_.settings, context_.layout, id());
  (void)removed;  // logged
  image_use_.reset();
  AddPhase("cleanup", since);
  if (stop_reason_) {
    (void)Enter(store::SandboxStatus::kStopped, record_.reason);
  } else {
    record_.reason = failure_.value_or("internal: ended for no known reason");
    (void)Enter(store::SandboxStatus::kFailed, record_.reason);
  }
  ended_ = true;
  observer_.OnEnded(*this);
  changed_.NotifyAll();
}

Awaitable<void> LiveSandbox::EndWarden() {
  if (!link_.process) co_return;
  auto wait = kWardenExitWait;
  if (stop_reason_ && link_.channel && link_.channel->alive()) {
    pb::StopRequest request;
    // A machine that is not up yet, or runs no command, has nothing to shut down: its disk goes.
    const bool graceful = (!launched_ || launched_->has_value()) && !running_.empty();
    request.set_grace_ms(graceful ? context_.settings.stop_grace.count() : 0);
    rpc::CallOptions options;
    options.deadline = steady_clock::now() + context_.settings.stop_grace + kWardenExitWait;
    auto stopped =
        co_await link_.channel->Call<pb::StopResponse>(warden_link::kStop, request, options);
    if (!stopped)
      spdlog::debug("stop unanswered sandbox_id={} error=\"{}\"", id(), stopped.error().ToString());
  }
  // A warden that has ended its machine waits for its callers to hang up.
  if (link_.channel) co_await link_.channel->Close();
  const bool gone = co_await link_.process->WaitEnd(steady_clock::now() + wait);
  if (gone) co_return;
  spdlog::warn("killing a warden that does not end sandbox_id={} warden_pid={}", id(),
               link_.process->pid());
  link_.process->Kill();
  const bool killed = co_await link_.process->WaitEnd(steady_clock::now() + kWardenKillWait);
  if (!killed)
    spdlog::error("a killed warden does not end sandbox_id={} warden_pid={}", id(),
                  link_.process->pid());
}

// The warden's own account, for when nobody listened, and its console, which the error of a launch
// does not carry.
void LiveSandbox::ReadEndFile() {
  const bool lost = failure_ && failure_->starts_with("unavailable: the connection");
  const auto state = ReadWardenEnd(context_.layout, id());
  if (state) {
    if (record_.console_tail.empty())
      record_.console_tail = PlainText(state->console_tail(), kConsoleBytes);
    if (lost && !state->reason().empty()) failure_ = PlainText(state->reason(), kLastWordsBytes);
    return;
  }
  if (failure_) *failure_ += DescribeWardenEnd();
}

std::string LiveSandbox::DescribeWardenEnd() const {
  std::string text;
  if (!link_.process->EndText().empty())
    text = fmt::format(" (the warden {})", link_.process->EndText());
  auto log = ReadRemains(context_.layout, id(), "warden.log");
  if (log && !log->empty()) {
    std::string words = PlainText(*log, kLastWordsBytes);
    while (!words.empty() && words.back() == '\n') words.pop_back();
    text += ": " + words;
  }
  return text;
}

void LiveSandbox::AddPhase(const std::string& name, steady_clock::time_point since) {
  const std::chrono::duration<double, std::milli> spent = steady_clock::now() - since;
  record_.phases.push_back({name, spent.count()});
}

void LiveSandbox::TellProgress(ProgressUpdate progress) {
  progress_ = std::move(progress);
  changed_.NotifyAll();
}

Result<void> LiveSandbox::Enter(store::SandboxStatus status, const std::string& message) {
  const auto before = record_.status;
  record_.status = status;
  record_.updated_us = MicrosOf(context_.clock());
  auto written = context_.store.UpdateSandbox(record_, message);
  if (!written) {
    spdlog::error("cannot persist a state sandbox_id={} status={} error=\"{}\"", id(),
                  ToString(status), written.error().ToString());
    if (!store::IsFinal(status)) record_.status = before;
    return written;
  }
  spdlog::info("sandbox {} sandbox_id={} reason=\"{}\"", ToString(status), id(), record_.reason);
  changed_.NotifyAll();
  return {};
}

void LiveSandbox::ExecutionStarted(const std::string& execution_id) {
  running_.insert(execution_id);
  Touch();
}

void LiveSandbox::ExecutionEnded(const std::string& execution_id) {
  running_.erase(execution_id);
  Touch();
}

void LiveSandbox::Touch() {
  idle_since_ = context_.steady();
  record_.last_activity_us = MicrosOf(context_.clock());
  auto touched = context_.store.TouchSandbox(id(), record_.last_activity_us);
  if (!touched)
    spdlog::error("cannot persist activity sandbox_id={} error=\"{}\"", id(),
                  touched.error().ToString());
}

bool LiveSandbox::IdleTooLong() const {
  if (!ready() || record_.keep || !running_.empty() || record_.ttl_minutes <= 0) return false;
  return context_.steady() - idle_since_ >= std::chrono::minutes(record_.ttl_minutes);
}

}  // namespace cleanroom::server
