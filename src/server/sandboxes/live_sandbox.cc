#include "server/sandboxes/live_sandbox.h"

#include <fmt/format.h>

#include <algorithm>

#include "cleanroom/internal/v1/warden.rpc.h"
#include "server/convert.h"
#include "server/plain_text.h"
#include "server/sandboxes/work_tree_changes.h"
#include "server/warden/remains.h"
#include "telemetry/log.h"

namespace cleanroom::server {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

using std::chrono::steady_clock;

constexpr std::chrono::seconds kWardenExitWait{2};
constexpr std::chrono::seconds kWardenKillWait{10};
// For layers to be mounted, and beyond that for a warden that does not answer.
constexpr std::chrono::seconds kAttachLimit{10};
constexpr std::chrono::seconds kAttachSlack{5};

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

void LiveSandbox::RequestStop(Error why) {
  if (stop_reason_ || failure_ || ended_) return;
  stop_reason_ = std::move(why).About(SubjectKind::kSandbox, id().text());
  changed_.NotifyAll();
}

Awaitable<void> LiveSandbox::Create(LaunchPlan plan, std::optional<Spare> spare) {
  const auto start = steady_clock::now();
  tasks_.Spawn(MakeTask(std::move(plan), std::move(spare)));
  while (!made_ && !stop_reason_) co_await changed_.Wait();
  if (!made_) tasks_.Cancel();
  while (!made_) co_await changed_.Wait();
  if (!*made_) {
    SetFinal(made_->error());
  } else if (!stop_reason_) {
    record_.phases.push_back(PhaseSince("total", start));
    auto entered = Enter(store::SandboxStatus::kReady, "ready");
    if (entered) {
      context_.warm.Launched(machine_.shape);
      co_await Serve();
    } else {
      SetFinal(entered.error());
    }
  }
  co_await End();
}

Awaitable<void> LiveSandbox::Adopt(WardenProcess warden) {
  machine_.link.process = std::move(warden);
  machine_.image_use = context_.resources.UseImage(record_.image_digest);
  machine_.shape.image.was_present = true;
  auto connected = ConnectWarden(executor_, context_.layout, id());
  if (connected) {
    machine_.link.channel = std::move(*connected);
    Log(LogLevel::kInfo, "sandbox found again", Field("sandbox_id", id()),
        Field("warden_pid", machine_.link.process->pid()));
    co_await Serve();
  } else {
    SetFinal(connected.error());
  }
  co_await End();
}

Awaitable<void> LiveSandbox::MakeTask(LaunchPlan plan, std::optional<Spare> spare) {
  auto self = shared_from_this();
  LaunchHooks hooks{
      .progress = [self](ProgressUpdate update) { self->TellProgress(std::move(update)); },
      .stop_asked = [self] { return self->stop_reason_.has_value(); }};
  if (record_.checkout) tasks_.Spawn(FindLayers());
  local_changes_ = plan.local_changes;
  Launcher launcher(executor_, context_, tasks_, record_, machine_, std::move(hooks));
  auto made = co_await launcher.Launch(std::move(plan), std::move(spare));
  set_up_begun_ = made.has_value();
  if (made) made = co_await SetUp();
  made_ = std::move(made);
  changed_.NotifyAll();
}

Awaitable<void> LiveSandbox::FindLayers() {
  auto self = shared_from_this();
  const ProgressFn progress = [self](ProgressUpdate update) {
    self->TellProgress(std::move(update));
  };
  const auto since = steady_clock::now();
  // Whose the work tree is to be, which an image that is still to be pulled must tell. The launch
  // waits for the same image.
  auto image = co_await context_.resources.Image(record_.image_ref, progress);
  if (!image) {
    layers_ = Err(std::move(image).error());
  } else {
    layers_ = co_await context_.checkouts.Layers(*record_.checkout, image->owner, progress);
  }
  record_.phases.push_back(PhaseSince("checkout", since));
  changed_.NotifyAll();
}

Awaitable<Result<void>> LiveSandbox::SetUp() {
  if (!record_.checkout) co_return Result<void>();
  while (!layers_) {
    co_await changed_.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "ended while the repository was fetched");
  }
  if (!*layers_) co_return Err(layers_->error());
  CR_CO_TRY(Enter(store::SandboxStatus::kSetup, "setting up"));
  auto attached = co_await AttachCheckout(**std::move(layers_));
  CR_CO_TRY(attached);
  auto applied = co_await ApplyLocalChanges();
  co_return applied;
}

Awaitable<Result<void>> LiveSandbox::ApplyLocalChanges() {
  const auto local = std::exchange(local_changes_, nullptr);
  if (!local) co_return Result<void>();
  const auto since = steady_clock::now();
  auto files = co_await context_.checkouts.Apply(*record_.checkout, local, nullptr);
  if (!files) co_return Err(std::move(files).error());
  TellProgress({.phase = "changes", .message = "copying local changes in"});
  auto written =
      co_await WriteChanges(machine_.link.channel, record_.checkout->path, *std::move(files));
  if (!written) co_return Err(std::move(written).error().Context("copying local changes in"));
  record_.phases.push_back(PhaseSince("changes", since));
  co_return Result<void>();
}

Awaitable<Result<void>> LiveSandbox::AttachCheckout(CheckoutLayers layers) {
  const auto since = steady_clock::now();
  std::vector<int> fds;
  for (const os::UniqueFd& file : layers.files) fds.push_back(file.get());
  CR_CO_TRY(machine_.link.process->HandOver(fds));
  pb::AttachRequest request;
  const auto limit = OnThisHost(kAttachLimit, context_.settings);
  request.set_deadline_ms(limit.count());
  pb::LayeredFolder* const folder = request.add_folders();
  folder->set_target(record_.checkout->path);
  folder->set_layers(static_cast<int32_t>(fds.size()));
  rpc::CallOptions options;
  options.deadline = since + limit + kAttachSlack;
  auto attached =
      co_await pb::WardenStub(*machine_.link.channel).Attach(std::move(request), options);
  if (!attached) {
    co_return Err(std::move(attached).error().Context("putting the repository into the sandbox"));
  }
  warnings_ = std::move(layers.warnings);
  record_.phases.push_back(PhaseSince("attach", since));
  co_return Result<void>();
}

Awaitable<void> LiveSandbox::Serve() {
  tasks_.Spawn(Watch());
  observer_.OnReady(shared_from_this());
  changed_.NotifyAll();
  while (!stop_reason_ && !failure_) co_await changed_.Wait();
}

Awaitable<void> LiveSandbox::Watch() {
  std::optional<Error> why;
  auto states = co_await pb::WardenStub(*machine_.link.channel).WatchState({});
  while (states) {
    auto state = co_await states->Next();
    if (!state || !*state) break;
    if ((*state)->phase() == pb::WardenState::PHASE_FAILED ||
        (*state)->phase() == pb::WardenState::PHASE_STOPPED) {
      why = WhyEnded(**state).value_or(Error(ErrorCode::kUnavailable, "the machine ended"));
      record_.console_tail = PlainText((*state)->console_tail(), kConsoleBytes);
      break;
    }
  }
  if (!failure_) {
    link_lost_ = !why;
    FailWith(why.value_or(Error(ErrorCode::kUnavailable, "the connection to the warden was lost")));
  }
  changed_.NotifyAll();
}

void LiveSandbox::SetFinal(const Error& error) {
  if (error.code() == ErrorCode::kUnavailable && machine_.link.process) {
    FailWith(
        Error(ErrorCode::kRuntimeLaunchFailed, "the warden ended before the machine was ready"));
  } else if (TellsWhatToDo(error.code())) {
    FailWith(error);
  } else {
    // All other codes mean that it did not start.
    FailWith(Error(error).As(ErrorCode::kRuntimeLaunchFailed));
  }
}

void LiveSandbox::FailWith(Error why) {
  failure_ = std::move(why).About(SubjectKind::kSandbox, id().text());
}

Awaitable<void> LiveSandbox::End() {
  const auto since = steady_clock::now();
  if (stop_reason_) {
    record_.reason = store::Reason::Of(*stop_reason_);
    (void)Enter(store::SandboxStatus::kStopping, "stopping");
  }
  co_await EndWarden();
  if (machine_.link.channel) co_await machine_.link.channel->Close();
  tasks_.Cancel();
  co_await tasks_.Join();
  // What failed in a machine that ran says why by itself.
  if (machine_.link.process && !stop_reason_ && !SetUpFailed()) ReadEndFile();
  co_await observer_.OnEnding(*this);

  auto removed = co_await RemoveRemains(context_.pool, context_.settings, context_.layout, id());
  (void)removed;  // logged
  machine_.image_use.reset();
  record_.phases.push_back(PhaseSince("cleanup", since));
  if (stop_reason_) {
    (void)Enter(store::SandboxStatus::kStopped, record_.reason.ToString());
  } else {
    if (!failure_) FailWith(Error(ErrorCode::kInternal, "ended for no known reason"));
    record_.reason = store::Reason::Of(*failure_);
    (void)Enter(store::SandboxStatus::kFailed, record_.reason.ToString());
  }
  ended_ = true;
  observer_.OnEnded(*this);
  changed_.NotifyAll();
}

Awaitable<void> LiveSandbox::EndWarden() {
  if (!machine_.link.process) co_return;
  auto wait = kWardenExitWait;
  const bool ask = stop_reason_ || SetUpFailed();
  if (ask && machine_.link.channel && machine_.link.channel->alive()) {
    pb::StopRequest request;
    // A machine that is not up yet, or runs no command, has nothing to shut down: its disk goes.
    const bool graceful = (!made_ || made_->has_value()) && !running_.empty();
    request.set_grace_ms(graceful ? context_.settings.stop_grace.count() : 0);
    rpc::CallOptions options;
    options.deadline = steady_clock::now() + context_.settings.stop_grace + kWardenExitWait;
    auto stopped = co_await pb::WardenStub(*machine_.link.channel).Stop(request, options);
    if (!stopped)
      Log(LogLevel::kDebug, "stop unanswered", Field("sandbox_id", id()),
          Field("error", stopped.error()));
  }
  // A warden that has ended its machine waits for its callers to hang up.
  if (machine_.link.channel) co_await machine_.link.channel->Close();
  const bool gone = co_await machine_.link.process->WaitEnd(steady_clock::now() + wait);
  if (gone) co_return;
  Log(LogLevel::kWarn, "killing a warden that does not end", Field("sandbox_id", id()),
      Field("warden_pid", machine_.link.process->pid()));
  machine_.link.process->Kill();
  const bool killed =
      co_await machine_.link.process->WaitEnd(steady_clock::now() + kWardenKillWait);
  if (!killed)
    Log(LogLevel::kError, "a killed warden does not end", Field("sandbox_id", id()),
        Field("warden_pid", machine_.link.process->pid()));
}

// The warden's own account, for when nobody listened, and its console, which the error of a launch
// does not carry.
void LiveSandbox::ReadEndFile() {
  const auto state = ReadWardenEnd(context_.layout, id());
  if (state) {
    if (record_.console_tail.empty())
      record_.console_tail = PlainText(state->console_tail(), kConsoleBytes);
    auto why = WhyEnded(*state);
    if (link_lost_ && why) FailWith(*std::move(why));
    return;
  }
  if (!failure_) return;
  const Error& seen = *failure_;
  failure_ = Error(seen.code(), seen.message() + DescribeWardenEnd())
                 .About(seen.subject().kind, seen.subject().name)
                 .Remedy(seen.remedy());
}

std::string LiveSandbox::DescribeWardenEnd() const {
  std::string text;
  if (!machine_.link.process->EndText().empty())
    text = fmt::format(" (the warden {})", machine_.link.process->EndText());
  auto log = ReadRemains(context_.layout, id(), "warden.log");
  if (log && !log->empty()) {
    std::string words = PlainText(*log, kLastWordsBytes);
    while (!words.empty() && words.back() == '\n') words.pop_back();
    text += ": " + words;
  }
  return text;
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
    Log(LogLevel::kError, "cannot persist a state", Field("sandbox_id", id()),
        Field("status", ToString(status)), Field("error", written.error()));
    if (!store::IsFinal(status)) record_.status = before;
    return written;
  }
  Log(LogLevel::kInfo, fmt::format("sandbox {}", ToString(status)), Field("sandbox_id", id()),
      Field("reason", record_.reason.ToString()));
  changed_.NotifyAll();
  return {};
}

void LiveSandbox::ExecutionStarted(const ExecutionId& execution_id) {
  running_.insert(execution_id);
  Touch();
}

void LiveSandbox::ExecutionEnded(const ExecutionId& execution_id) {
  running_.erase(execution_id);
  Touch();
}

void LiveSandbox::Touch() {
  idle_since_ = context_.steady();
  record_.last_activity_us = MicrosOf(context_.clock());
  auto touched = context_.store.TouchSandbox(id(), record_.last_activity_us);
  if (!touched)
    Log(LogLevel::kError, "cannot persist activity", Field("sandbox_id", id()),
        Field("error", touched.error()));
}

bool LiveSandbox::IdleTooLong() const {
  if (!ready() || record_.keep || !running_.empty() || record_.ttl_minutes <= 0) return false;
  return context_.steady() - idle_since_ >= std::chrono::minutes(record_.ttl_minutes);
}

}  // namespace cleanroom::server
