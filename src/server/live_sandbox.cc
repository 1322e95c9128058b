#include "server/live_sandbox.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <filesystem>

#include "http/byte_stream.h"
#include "os/file.h"
#include "os/socket.h"
#include "server/convert.h"
#include "server/host_resolvers.h"
#include "server/plain_text.h"
#include "server/warden_api.h"

namespace cleanroom::server {
namespace {

using std::chrono::steady_clock;

// Kept of a guest's console and of a warden's last words.
constexpr size_t kConsoleBytes = 8U << 10;
constexpr size_t kLastWordsBytes = 1U << 10;
// Beyond the boot's own limit, which the warden keeps: only for a warden that does not answer.
constexpr std::chrono::seconds kLaunchSlack{5};
constexpr std::chrono::seconds kWardenExitWait{2};
constexpr std::chrono::seconds kWardenKillWait{10};

// What a warden and its machine read of the host, beside the distribution's programs.
std::vector<std::string> FilesOf(const LaunchImage& image, const LaunchMachine& machine) {
  return {image.path, machine.kernel_path, machine.initrd_path, machine.vmm_path};
}

}  // namespace

LiveSandbox::LiveSandbox(asio::any_io_executor executor, SandboxContext& context,
                         SandboxObserver& observer, store::SandboxRecord record)
    : executor_(executor),
      context_(context),
      observer_(observer),
      record_(std::move(record)),
      changed_(executor),
      tasks_(executor) {}

void LiveSandbox::RequestStop(std::string reason) {
  if (stop_reason_ || ended_) return;
  stop_reason_ = std::move(reason);
  changed_.NotifyAll();
}

Awaitable<void> LiveSandbox::Create(LaunchPlan plan) {
  const auto start = steady_clock::now();
  tasks_.Spawn(LaunchTask(std::move(plan)));
  while (!launched_ && !stop_reason_) co_await changed_.Wait();
  if (!launched_) tasks_.Cancel();
  while (!launched_) co_await changed_.Wait();
  if (!*launched_) {
    SetFinal(launched_->error());
  } else if (!stop_reason_) {
    AddPhase("total", start);
    auto entered = Enter(store::SandboxStatus::kReady, "ready");
    if (entered) {
      co_await Serve();
    } else {
      SetFinal(entered.error());
    }
  }
  co_await End();
}

Awaitable<void> LiveSandbox::Adopt(WardenProcess warden) {
  warden_ = std::move(warden);
  image_use_ = context_.resources.UseImage(record_.image_digest);
  image_.was_present = true;
  auto connected = Connect();
  if (connected) {
    spdlog::info("sandbox found again sandbox_id={} warden_pid={}", id(), warden_->pid());
    co_await Serve();
  } else {
    SetFinal(connected.error());
  }
  co_await End();
}

Awaitable<void> LiveSandbox::LaunchTask(LaunchPlan plan) {
  auto launched = co_await Launch(std::move(plan));
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
Awaitable<Result<void>> LiveSandbox::Launch(LaunchPlan plan) {
  auto self = shared_from_this();
  const ProgressFn progress = [self](ProgressUpdate update) {
    self->TellProgress(std::move(update));
  };

  image_use_ = context_.resources.UseImage(record_.image_digest);
  auto since = steady_clock::now();
  auto image = co_await context_.resources.Image(record_.image_ref, progress);
  CR_CO_TRY(StopAsked());
  if (!image) co_return Err(std::move(image).error());
  image_ = std::move(*image);
  AddPhase("image", since);

  since = steady_clock::now();
  auto machine = co_await context_.resources.Machine(record_.backend, progress);
  CR_CO_TRY(StopAsked());
  if (!machine) co_return Err(std::move(machine).error());
  record_.accelerator = machine->accelerator;
  AddPhase("kernel", since);

  TellProgress({.phase = "boot", .message = "starting the machine"});
  since = steady_clock::now();
  CR_CO_TRY(os::MakeDirs(context_.layout.LiveOutputs(id())));
  auto disk = co_await context_.resources.MakeDisk(context_.layout.Disk(id()), record_.disk_mib);
  CR_CO_TRY(StopAsked());
  if (!disk) co_return Err(std::move(disk).error());
  AddPhase("disk", since);

  since = steady_clock::now();
  auto warden = WardenProcess::Start(context_.settings.warden_program.string(), id(),
                                     context_.layout.Sandbox(id()), FilesOf(image_, *machine));
  if (!warden) co_return Err(std::move(warden).error());
  warden_ = std::move(*warden);
  CR_CO_TRY(Connect());
  AddPhase("warden", since);

  auto booted = co_await Boot(*machine, plan.boot_limit);
  co_return booted;
}

Result<void> LiveSandbox::Connect() {
  CR_TRY_ASSIGN(auto socket, os::ConnectUnix(context_.layout.WardenSocket(id())));
  channel_ = rpc::Channel::Create(http::AdoptSocket(executor_, socket.release()), {});
  return {};
}

Awaitable<Result<void>> LiveSandbox::Boot(const LaunchMachine& machine,
                                          std::chrono::seconds limit) {
  pb::LaunchRequest request;
  request.set_backend(record_.backend);
  request.set_kernel_path(machine.kernel_path);
  request.set_initrd_path(machine.initrd_path);
  request.set_image_path(image_.path);
  request.set_disk_path(context_.layout.Disk(id()));
  request.set_vcpus(record_.vcpus);
  request.set_memory_mib(record_.memory_mib);
  request.set_accelerator(machine.accelerator);
  request.set_deadline_ms(std::chrono::milliseconds(limit).count());
  for (const std::string& variable : image_.env) request.add_env(variable);
  request.set_workdir(image_.workdir);
  request.set_user(image_.user);
  request.set_vmm_path(machine.vmm_path);
  request.set_policy_json(record_.policy_json);
  for (std::string& server : HostResolvers(context_.settings)) {
    request.add_resolvers(std::move(server));
  }

  rpc::CallOptions options;
  options.deadline = steady_clock::now() + limit + kLaunchSlack;
  auto events = co_await channel_->CallServerStream<pb::LaunchEvent>(warden_api::kLaunch,
                                                                     std::move(request), options);
  if (!events) co_return Err(std::move(events).error());
  for (;;) {
    auto event = co_await events->Next();
    if (!event) co_return Err(std::move(event).error());
    if (!*event)
      co_return Err(ErrorCode::kUnavailable, "the warden ended the launch without a word");
    if ((*event)->has_ready()) co_return Result<void>();
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
  auto states = co_await channel_->CallServerStream<pb::WardenState>(warden_api::kWatchState,
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
  if (error.code() == ErrorCode::kUnavailable && warden_) {
    failure_ =
        Error(ErrorCode::kRuntimeLaunchFailed, "the warden ended before the machine was ready")
            .ToString();
  }
}

Awaitable<void> LiveSandbox::End() {
  if (stop_reason_) {
    record_.reason = *stop_reason_;
    (void)Enter(store::SandboxStatus::kStopping, "stopping");
  }
  co_await EndWarden();
  if (channel_) co_await channel_->Close();
  tasks_.Cancel();
  co_await tasks_.Join();
  if (warden_ && !stop_reason_) ReadEndFile();
  co_await observer_.OnEnding(*this);

  const std::string folder = context_.layout.Sandbox(id());
  auto work = [folder] {
    std::error_code error;
    std::filesystem::remove_all(folder, error);
    return error ? error.message() : std::string();
  };
  const std::string trouble = co_await context_.pool.Run(work);
  if (!trouble.empty()) {
    spdlog::error("cannot remove a sandbox's folder sandbox_id={} folder={} error=\"{}\"", id(),
                  folder, trouble);
  }

  image_use_.reset();
  if (stop_reason_) {
    (void)Enter(store::SandboxStatus::kStopped, record_.reason);
  } else {
    record_.reason = failure_.value_or("internal: ended for no known reason");
    (void)Enter(store::SandboxStatus::kFailed, record_.reason);
  }
  ended_ = true;
  observer_.OnEnded(id());
  changed_.NotifyAll();
}

Awaitable<void> LiveSandbox::EndWarden() {
  if (!warden_) co_return;
  auto wait = kWardenExitWait;
  if (stop_reason_ && channel_ && channel_->alive()) {
    pb::StopRequest request;
    // A machine that is not up yet has nothing to shut down.
    const bool graceful = launched_ ? launched_->has_value() : true;
    request.set_grace_ms(graceful ? context_.settings.stop_grace.count() : 0);
    rpc::CallOptions options;
    options.deadline = steady_clock::now() + context_.settings.stop_grace + kWardenExitWait;
    auto stopped = co_await channel_->Call<pb::StopResponse>(warden_api::kStop, request, options);
    if (!stopped)
      spdlog::debug("stop unanswered sandbox_id={} error=\"{}\"", id(), stopped.error().ToString());
  }
  // A warden that has ended its machine waits for its callers to hang up.
  if (channel_) co_await channel_->Close();
  const bool gone = co_await warden_->WaitEnd(steady_clock::now() + wait);
  if (gone) co_return;
  spdlog::warn("killing a warden that does not end sandbox_id={} warden_pid={}", id(),
               warden_->pid());
  warden_->Kill();
  const bool killed = co_await warden_->WaitEnd(steady_clock::now() + kWardenKillWait);
  if (!killed)
    spdlog::error("a killed warden does not end sandbox_id={} warden_pid={}", id(), warden_->pid());
}

// The warden's own account, for when nobody listened, and its console, which the error of a launch
// does not carry.
void LiveSandbox::ReadEndFile() {
  const bool lost = failure_ && failure_->starts_with("unavailable: the connection");
  auto bytes = os::ReadFile(context_.layout.Sandbox(id()) + "/end", 1U << 20);
  pb::WardenState state;
  if (bytes && state.ParseFromString(*bytes)) {
    if (record_.console_tail.empty())
      record_.console_tail = PlainText(state.console_tail(), kConsoleBytes);
    if (lost && !state.reason().empty()) failure_ = PlainText(state.reason(), kLastWordsBytes);
    return;
  }
  if (failure_) *failure_ += DescribeWardenEnd();
}

std::string LiveSandbox::DescribeWardenEnd() const {
  std::string text;
  if (!warden_->EndText().empty()) text = fmt::format(" (the warden {})", warden_->EndText());
  auto log = os::ReadFile(context_.layout.Sandbox(id()) + "/warden.log", 1U << 20);
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
  record_.last_activity_us = MicrosOf(context_.clock());
  auto touched = context_.store.TouchSandbox(id(), record_.last_activity_us);
  if (!touched)
    spdlog::error("cannot persist activity sandbox_id={} error=\"{}\"", id(),
                  touched.error().ToString());
}

bool LiveSandbox::IdleTooLong() const {
  if (!ready() || record_.keep || !running_.empty() || record_.ttl_minutes <= 0) return false;
  const std::chrono::microseconds idle(MicrosOf(context_.clock()) - record_.last_activity_us);
  return idle >= std::chrono::minutes(record_.ttl_minutes);
}

}  // namespace cleanroom::server
