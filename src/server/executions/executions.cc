#include "server/executions/executions.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <set>

#include "base/id.h"
#include "cleanroom/internal/v1/warden.rpc.h"
#include "server/executions/observability.h"
#include "server/plain_text.h"
#include "server/sandboxes/sandboxes.h"
#include "server/warden/remains.h"
#include "telemetry/log.h"
#include "warden_link/ending.h"
#include "warden_link/spool.h"

namespace cleanroom::server {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

using std::chrono::steady_clock;

// For one input to be taken, where the caller has set no deadline: a command that does not read may
// take long, so this only bounds a warden that is stuck.
constexpr std::chrono::seconds kSignalLimit{10};

// The end on record in a spool file; nothing when it has none.
std::optional<pb::ExecutionEnd> FindEnd(const std::string& file) {
  auto reader = warden_link::SpoolReader::Open(file);
  while (reader) {
    auto frame = reader->Next();
    if (!frame || !*frame) break;
    if ((*frame)->kind != warden_link::FrameKind::kEnd) continue;
    pb::ExecutionEnd end;
    if (end.ParseFromString((*frame)->payload)) return end;
    break;
  }
  return std::nullopt;
}

std::set<ExecutionId> IdsOf(const std::vector<store::ExecutionRecord>& records) {
  std::set<ExecutionId> ids;
  for (const store::ExecutionRecord& record : records) ids.insert(record.id);
  return ids;
}

store::ExecutionStatus StatusOf(const pb::ExecutionEnd& end) {
  switch (end.cause()) {
    case pb::ExecutionEnd::CAUSE_EXITED:
      return end.exit_code() == 0 ? store::ExecutionStatus::kSucceeded
                                  : store::ExecutionStatus::kFailed;
    case pb::ExecutionEnd::CAUSE_CANCELED:
      return store::ExecutionStatus::kCanceled;
    case pb::ExecutionEnd::CAUSE_TIMED_OUT:
      return store::ExecutionStatus::kTimedOut;
    default:
      return store::ExecutionStatus::kFailed;
  }
}

}  // namespace

Executions::Executions(asio::any_io_executor executor, store::RecordStore& store,
                       BlockingPool& pool, Sandboxes& sandboxes, const Settings& settings,
                       const Layout& layout, WallClock clock)
    : executor_(executor),
      store_(store),
      pool_(pool),
      sandboxes_(sandboxes),
      settings_(settings),
      layout_(layout),
      clock_(std::move(clock)),
      written_(executor),
      tasks_(executor) {}

Awaitable<Result<store::ExecutionRecord>> Executions::Create(ExecutionPlan plan) {
  auto sandbox = sandboxes_.FindReady(plan.record.sandbox_id);
  if (!sandbox) co_return Err(std::move(sandbox).error());
  CR_CO_TRY(store_.InsertExecution(plan.record));
  auto running = std::make_shared<Running>(executor_, plan.record, *sandbox);
  running_[plan.record.id] = running;
  (*sandbox)->ExecutionStarted(plan.record.id);
  (*sandbox)->tasks().Spawn(Run(running, std::move(plan.start), plan.timeout, plan.start_limit));
  while (running->record.status == store::ExecutionStatus::kQueued) {
    co_await running->changed.Wait();
    const bool cancelled = co_await Cancelled();
    if (!cancelled) continue;
    // Nobody knows the command's id, so nobody could ever ask for it.
    running->cancel_requested = true;
    tasks_.Spawn(KillAfter(running, std::chrono::seconds(0)));
    co_return Err(ErrorCode::kCanceled, "cancelled while the command was being started");
  }
  co_return running->record;
}

Awaitable<void> Executions::Run(std::shared_ptr<Running> running, pb::ExecStart start,
                                std::chrono::milliseconds timeout,
                                std::chrono::milliseconds start_limit) {
  const auto channel = running->sandbox->channel();
  pb::StartExecutionRequest request;
  request.set_execution_id(running->record.id.text());
  *request.mutable_start() = std::move(start);
  request.set_timeout_ms(timeout.count());
  request.set_start_limit_ms(start_limit.count());
  rpc::CallOptions options;
  options.deadline = steady_clock::now() + start_limit;
  running->started = steady_clock::now();
  auto started = co_await pb::WardenStub(*channel).StartExecution(std::move(request), options);
  if (!started) {
    // A sandbox that is ending settles its commands itself, from what is on record.
    if (!channel->alive() || !running->sandbox->ready()) co_return;
    const ExecutionId id = running->record.id;
    Fail(id, started.error());
    // The warden may have begun it all the same, too late to say so: nobody else would end it.
    pb::SendInputRequest kill;
    kill.set_execution_id(id.text());
    kill.mutable_input()->set_signal(SIGKILL);
    rpc::CallOptions limit;
    limit.deadline = steady_clock::now() + kSignalLimit;
    auto killed = co_await pb::WardenStub(*channel).SendInput(std::move(kill), limit);
    (void)killed;  // most often there is none
    co_return;
  }
  running->record.status = store::ExecutionStatus::kRunning;
  running->record.started_us = MicrosOf(clock_());
  running->ran_since = steady_clock::now();
  const std::chrono::duration<double, std::milli> spent = steady_clock::now() - running->started;
  running->record.phases.push_back({"start", spent.count()});
  auto written = store_.UpdateExecution(running->record);
  if (!written) {
    Log(LogLevel::kError, "cannot persist an execution", Field("execution_id", running->record.id),
        Field("error", written.error()));
  }
  running->changed.NotifyAll();
  co_await AwaitEnd(running);
}

Awaitable<void> Executions::AwaitEnd(std::shared_ptr<Running> running) {
  const ExecutionId id = running->record.id;
  const auto channel = running->sandbox->channel();
  Error failure(ErrorCode::kUnavailable, "the warden ended the record without an end");
  for (const int64_t offset : {warden_link::kOnlyTheEnd, int64_t{0}}) {
    auto attachment = co_await pb::WardenStub(*channel).AttachExecution();
    if (!attachment) break;
    pb::AttachInput first;
    first.set_execution_id(id.text());
    first.set_offset(offset);
    first.set_follow(true);
    auto sent = co_await attachment->Write(first);
    if (sent) sent = co_await attachment->CloseWrite();
    for (;;) {
      auto event = co_await attachment->Next();
      if (!event) {
        failure = std::move(event).error();
        break;
      }
      if (!*event) break;
      if (!(*event)->has_end()) continue;
      Finish(id, (*event)->end());
      co_return;
    }
    const bool other_offset =
        failure.code() == ErrorCode::kInvalidArgument || failure.code() == ErrorCode::kDataCorrupt;
    if (!other_offset) break;
  }
  const bool cancelled = co_await Cancelled();
  if (cancelled || !channel->alive() || !running->sandbox->ready())
    co_return;  // OnEnding settles it
  Fail(id, std::move(failure).Context("the command was lost"));
}

void Executions::Finish(const ExecutionId& id, const pb::ExecutionEnd& end) {
  auto stored = store_.GetExecution(id);
  if (!stored || store::IsFinal(stored->status)) return;
  store::ExecutionRecord record = std::move(*stored);
  const auto running = FindRunning(id);
  record.status = StatusOf(end);
  if (running && running->cancel_requested && end.cause() == pb::ExecutionEnd::CAUSE_EXITED &&
      end.signal() != 0) {
    record.status = store::ExecutionStatus::kCanceled;
  }
  record.exit_code = end.exit_code();
  if (const auto why = WhyLost(end)) {
    record.reason = store::Reason::Of(*why);
  } else {
    record.reason = {.code = std::nullopt,
                     .message = PlainText(end.message(), kCommandWordsBytes),
                     .remedy = {}};
  }
  record.finished_us = MicrosOf(clock_());
  if (record.started_us != 0) {
    // One that is found again by a new control plane is measured by the wall clock, which may jump.
    const std::chrono::microseconds by_clock(
        std::max<int64_t>(record.finished_us - record.started_us, 0));
    std::chrono::duration<double, std::milli> spent = by_clock;
    if (running && running->ran_since) spent = steady_clock::now() - *running->ran_since;
    record.phases.push_back({"exec", spent.count()});
  }
  Settle(std::move(record));
}

void Executions::Fail(const ExecutionId& id, const Error& error) {
  Finish(id, warden_link::LostCommand(error));
}

void Executions::Settle(store::ExecutionRecord record) {
  auto written = store_.UpdateExecution(record);
  if (!written) {
    Log(LogLevel::kError, "cannot persist an execution", Field("execution_id", record.id),
        Field("error", written.error()));
  }
  Log(LogLevel::kInfo, fmt::format("execution {}", ToString(record.status)),
      Field("sandbox_id", record.sandbox_id), Field("execution_id", record.id),
      Field("exit_code", record.exit_code));
  bool image_was_present = true;
  const auto running = FindRunning(record.id);
  if (running) {
    image_was_present = running->sandbox->image_was_present();
    running->record = record;
    running_.erase(record.id);
    running->sandbox->ExecutionEnded(record.id);
    running->changed.NotifyAll();
  }
  auto sandbox = store_.GetSandbox(record.sandbox_id);
  if (sandbox) tasks_.Spawn(WriteSummary(record, std::move(*sandbox), image_was_present));
  auto pruned = store_.PruneExecutions(settings_.keep_executions);
  if (!pruned) {
    Log(LogLevel::kError, "cannot prune records", Field("error", pruned.error()));
  } else if (!pruned->empty()) {
    tasks_.Spawn(RemoveKept(std::move(*pruned)));
  }
}

Awaitable<void> Executions::WriteSummary(store::ExecutionRecord record,
                                         store::SandboxRecord sandbox, bool image_was_present) {
  const std::string folder = layout_.Observability(record.id);
  const std::string text = ObservabilityJson(record, sandbox, image_was_present);
  while (writing_.contains(record.id)) {
    co_await written_.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return;
  }
  writing_.insert(record.id);
  auto work = [folder, text] { return WriteObservability(folder, text); };
  const auto written = co_await pool_.Run(work);
  writing_.erase(record.id);
  written_.NotifyAll();
  if (!written) {
    Log(LogLevel::kWarn, "cannot write a summary", Field("execution_id", record.id),
        Field("error", written.error()));
  }
}

Awaitable<void> Executions::RemoveKept(std::vector<ExecutionId> ids) {
  std::vector<std::string> paths;
  for (const ExecutionId& id : ids) {
    paths.push_back(layout_.KeptOutput(id));
    paths.push_back(layout_.Observability(id));
  }
  auto work = [paths] {
    std::error_code error;
    size_t count = 0;
    for (const std::string& path : paths)
      count += std::filesystem::remove_all(path, error) > 0 ? 1 : 0;
    return count;
  };
  const size_t removed = co_await pool_.Run(work);
  Log(LogLevel::kDebug, "old executions removed", Field("count", ids.size()),
      Field("files", removed));
}

Result<store::ExecutionRecord> Executions::Get(const SandboxId& sandbox_id,
                                               const ExecutionId& id) const {
  CR_TRY(CheckId(id, "execution id"));
  CR_TRY_ASSIGN(auto record, store_.GetExecution(id));
  if (!sandbox_id.empty() && record.sandbox_id != sandbox_id) {
    return Err(Error(ErrorCode::kNotFound,
                     fmt::format("there is no execution {} in sandbox {}", id, sandbox_id))
                   .About(SubjectKind::kExecution, id.text()));
  }
  return record;
}

Result<std::vector<store::ExecutionRecord>> Executions::List(
    const SandboxId& sandbox_id, store::RecordStore::Which which) const {
  if (!sandbox_id.empty()) CR_TRY(CheckId(sandbox_id, "sandbox id"));
  return store_.ListExecutions(sandbox_id, which);
}

std::shared_ptr<Executions::Running> Executions::FindRunning(const ExecutionId& id) const {
  const auto found = running_.find(id);
  return found == running_.end() ? nullptr : found->second;
}

Awaitable<Result<Executions::CancelAnswer>> Executions::Cancel(SandboxId sandbox_id, ExecutionId id,
                                                               int signal) {
  // Linux has signals 1 to 64.
  if (signal < 0 || signal > 64) {
    co_return Err(ErrorCode::kInvalidArgument,
                  fmt::format("{} is no signal: it must be 0 to 64", signal));
  }
  CR_CO_TRY_ASSIGN(auto record, Get(sandbox_id, id));
  auto running = FindRunning(id);
  if (!running) co_return CancelAnswer{.accepted = false, .record = std::move(record)};
  running->cancel_requested = true;
  pb::ExecInput input;
  input.set_signal(signal == 0 ? SIGTERM : signal);
  auto sent = co_await Send(running, std::move(input));
  const bool ended = store::IsFinal(running->record.status);
  // It ended by itself before the signal reached it. A signal that did reach it may end it before
  // we hear so.
  if (!sent && ended) co_return CancelAnswer{.accepted = false, .record = running->record};
  // A guest that does not answer is not asked again, but after SIGKILL not waited for either.
  const bool deaf = !sent && signal == 0 && sent.error().code() == ErrorCode::kDeadlineExceeded;
  if (!sent && !deaf) co_return Err(std::move(sent).error());
  if (ended) co_return CancelAnswer{.accepted = true, .record = running->record};
  if (signal == 0) tasks_.Spawn(KillAfter(running, settings_.cancel_grace));
  co_return CancelAnswer{.accepted = true, .record = running->record};
}

Awaitable<void> Executions::KillAfter(std::shared_ptr<Running> running,
                                      std::chrono::seconds grace) {
  const auto deadline = steady_clock::now() + grace;
  while (!store::IsFinal(running->record.status) && steady_clock::now() < deadline) {
    const bool in_time = co_await running->changed.WaitUntil(deadline);
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return;
    if (!in_time) break;
  }
  if (store::IsFinal(running->record.status)) co_return;
  pb::ExecInput input;
  input.set_signal(SIGKILL);
  auto sent = co_await Send(running, std::move(input));
  if (!sent) {
    Log(LogLevel::kWarn, "cannot kill a command", Field("execution_id", running->record.id),
        Field("error", sent.error()));
  }
}

Awaitable<Result<void>> Executions::SendInput(SandboxId sandbox_id, ExecutionId id,
                                              pb::ExecInput input) {
  CR_CO_TRY_ASSIGN(auto record, Get(sandbox_id, id));
  auto running = FindRunning(id);
  if (!running) {
    co_return Err(
        ErrorCode::kFailedPrecondition,
        fmt::format("execution {} has ended ({}): it takes no input", id, ToString(record.status)));
  }
  running->sandbox->Touch();
  auto sent = co_await Send(running, std::move(input));
  co_return sent;
}

Awaitable<Result<void>> Executions::Send(std::shared_ptr<Running> running, pb::ExecInput input) {
  while (running->record.status == store::ExecutionStatus::kQueued) {
    co_await running->changed.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled)
      co_return Err(ErrorCode::kCanceled, "cancelled while the command was being started");
  }
  const auto channel = running->sandbox->channel();
  rpc::CallOptions options;
  if (input.has_signal()) options.deadline = steady_clock::now() + kSignalLimit;
  pb::SendInputRequest request;
  request.set_execution_id(running->record.id.text());
  *request.mutable_input() = std::move(input);
  auto sent = co_await pb::WardenStub(*channel).SendInput(std::move(request), options);
  if (!sent) {
    co_return Err(
        std::move(sent).error().About(SubjectKind::kSandbox, running->record.sandbox_id.text()));
  }
  co_return Result<void>();
}

// After a restart: the commands on record go on being watched. One that had not started cannot be
// told from one that had; the warden knows.
void Executions::OnReady(const std::shared_ptr<LiveSandbox>& sandbox) {
  auto records = store_.ListExecutions(sandbox->id(), store::RecordStore::Which::kLive);
  if (!records) {
    Log(LogLevel::kError, "cannot read executions", Field("sandbox_id", sandbox->id()),
        Field("error", records.error()));
    return;
  }
  for (store::ExecutionRecord& record : *records) {
    if (running_.contains(record.id)) continue;
    if (record.status == store::ExecutionStatus::kQueued) {
      record.status = store::ExecutionStatus::kRunning;
      record.started_us = record.created_us;
    }
    auto running = std::make_shared<Running>(executor_, record, sandbox);
    running_[record.id] = running;
    sandbox->ExecutionStarted(record.id);
    sandbox->tasks().Spawn(AwaitEnd(running));
  }
}

Awaitable<void> Executions::OnEnding(LiveSandbox& sandbox) {
  auto records = store_.ListExecutions(sandbox.id(), store::RecordStore::Which::kLive);
  if (!records) co_return;
  for (const store::ExecutionRecord& record : *records) {
    const std::string file = layout_.LiveOutput(sandbox.id(), record.id);
    auto work = [file] { return FindEnd(file); };
    const auto end = co_await pool_.Run(work);
    if (end) {
      Finish(record.id, *end);
    } else {
      Fail(record.id, Error(ErrorCode::kUnavailable, "the sandbox ended before the command did"));
    }
  }

  // By renaming, so that whoever reads such a file goes on. Those of records that were pruned while
  // the sandbox lived go with its folder.
  const std::string from = layout_.LiveOutputs(sandbox.id());
  const std::string to = layout_.Executions();
  auto kept = store_.ListExecutions(sandbox.id(), store::RecordStore::Which::kAll);
  if (!kept) co_return;
  const std::set<ExecutionId> known = IdsOf(*kept);
  auto work = [from, to, known] {
    std::error_code error;
    for (std::filesystem::directory_iterator it(from, error), end; !error && it != end;
         it.increment(error)) {
      const std::string name = it->path().filename();
      if (it->path().extension() != ".log" || !known.contains(ExecutionId(it->path().stem())) ||
          !it->is_regular_file(error))
        continue;
      std::filesystem::rename(it->path(), std::filesystem::path(to) / name, error);
    }
    // A sandbox that never ran a command may have no such folder.
    return error && error != std::errc::no_such_file_or_directory ? error.message() : std::string();
  };
  const std::string trouble = co_await pool_.Run(work);
  if (!trouble.empty())
    Log(LogLevel::kError, "cannot keep output", Field("sandbox_id", sandbox.id()),
        Field("error", trouble));
}

// What the end took belongs to the summaries too; nobody waits for that.
void Executions::OnEnded(const LiveSandbox& sandbox) {
  auto records = store_.ListExecutions(sandbox.id(), store::RecordStore::Which::kAll);
  if (!records) return;
  for (store::ExecutionRecord& record : *records) {
    tasks_.Spawn(WriteSummary(std::move(record), sandbox.record(), sandbox.image_was_present()));
  }
}

Awaitable<void> Executions::RemoveStrays() {
  auto records = store_.ListExecutions(SandboxId(), store::RecordStore::Which::kAll);
  if (!records) co_return;
  const std::string folder = layout_.Executions();
  const std::set<ExecutionId> known = IdsOf(*records);
  auto work = [folder, known] {
    std::error_code error;
    std::vector<std::filesystem::path> strays;
    for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
         it.increment(error)) {
      if (!known.contains(ExecutionId(it->path().stem()))) strays.push_back(it->path());
    }
    for (const std::filesystem::path& path : strays) std::filesystem::remove_all(path, error);
    return strays.size();
  };
  const size_t removed = co_await pool_.Run(work);
  if (removed > 0) Log(LogLevel::kInfo, "removed output without a record", Field("count", removed));
}

Awaitable<void> Executions::Shutdown() {
  // Commands have ended with their sandboxes, so what is left is writing files.
  co_await tasks_.Join();
}

}  // namespace cleanroom::server
