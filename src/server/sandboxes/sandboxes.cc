#include "server/sandboxes/sandboxes.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/id.h"
#include "server/plain_text.h"
#include "server/warden/remains.h"
#include "telemetry/log.h"

namespace cleanroom::server {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

using std::chrono::steady_clock;

constexpr int64_t kEventsAtOnce = 64;
constexpr std::chrono::seconds kKillWait{10};

}  // namespace

Sandboxes::Sandboxes(asio::any_io_executor executor, SandboxContext context)
    : executor_(executor), context_(std::move(context)), lives_(executor) {}

Result<std::shared_ptr<LiveSandbox>> Sandboxes::Create(LaunchPlan plan) {
  if (shutting_down_) return Err(ErrorCode::kUnavailable, "the daemon is stopping");
  int64_t promised = 0;
  for (const auto& [id, sandbox] : live_) {
    if (sandbox->record().status == store::SandboxStatus::kProvisioning)
      promised += sandbox->record().memory_mib;
  }
  CR_TRY_ASSIGN(const HostRoom room, context_.resources.Room());
  CR_TRY(Admit(room, plan.record.memory_mib, promised));
  std::optional<Spare> spare = context_.warm.Claim(plan.record);
  if (spare) plan.record.id = spare->id;
  if (auto inserted = context_.store.InsertSandbox(plan.record, "creating"); !inserted) {
    if (spare) context_.warm.Discard(*std::move(spare));
    return Err(std::move(inserted).error());
  }
  auto sandbox = std::make_shared<LiveSandbox>(executor_, context_, observers_, plan.record);
  live_[plan.record.id] = sandbox;
  lives_.Spawn(RunCreate(sandbox, std::move(plan), std::move(spare)));
  return sandbox;
}

Awaitable<void> Sandboxes::RunCreate(std::shared_ptr<LiveSandbox> sandbox, LaunchPlan plan,
                                     std::optional<Spare> spare) {
  co_await sandbox->Create(std::move(plan), std::move(spare));
  Forget(sandbox->id());
}

Awaitable<void> Sandboxes::RunAdopt(std::shared_ptr<LiveSandbox> sandbox, WardenProcess warden) {
  co_await sandbox->Adopt(std::move(warden));
  Forget(sandbox->id());
}

void Sandboxes::Forget(const SandboxId& id) {
  live_.erase(id);
  auto pruned = context_.store.PruneSandboxes(context_.settings.keep_sandboxes);
  if (!pruned) Log(LogLevel::kError, "cannot prune records", Field("error", pruned.error()));
}

bool Sandboxes::creating() const {
  return std::ranges::any_of(
      live_, [](const auto& item) { return store::IsBeingMade(item.second->record().status); });
}

std::shared_ptr<LiveSandbox> Sandboxes::FindLive(const SandboxId& id) const {
  const auto found = live_.find(id);
  return found == live_.end() ? nullptr : found->second;
}

Result<std::shared_ptr<LiveSandbox>> Sandboxes::FindReady(const SandboxId& id) const {
  CR_TRY(CheckId(id, "sandbox id"));
  auto live = FindLive(id);
  if (live && live->ready()) return live;
  CR_TRY_ASSIGN(const auto record, Get(id));
  return Err(Error(ErrorCode::kFailedPrecondition,
                   fmt::format("sandbox {} is {}, not READY{}{}", id, ToString(record.status),
                               record.reason.empty() ? "" : ": ", record.reason.ToString()))
                 .About(SubjectKind::kSandbox, id.text()));
}

Result<store::SandboxRecord> Sandboxes::Get(const SandboxId& id) const {
  CR_TRY(CheckId(id, "sandbox id"));
  CR_TRY_ASSIGN(auto record, context_.store.GetSandbox(id));
  ShowEnding(record);
  return record;
}

void Sandboxes::ShowEnding(store::SandboxRecord& record) const {
  const auto live = FindLive(record.id);
  if (!live || live->ended() || live->ready() || record.status != store::SandboxStatus::kReady)
    return;
  record.status = store::SandboxStatus::kStopping;
  if (live->why_ending()) record.reason = store::Reason::Of(*live->why_ending());
}

Result<std::vector<store::SandboxRecord>> Sandboxes::List(store::RecordStore::Which which) const {
  CR_TRY_ASSIGN(auto records, context_.store.ListSandboxes(which));
  for (store::SandboxRecord& record : records) ShowEnding(record);
  return records;
}

Awaitable<Result<store::SandboxRecord>> Sandboxes::Terminate(SandboxId id, Error why) {
  CR_CO_TRY(CheckId(id, "sandbox id"));
  auto live = FindLive(id);
  if (live) {
    live->RequestStop(std::move(why));
    while (!live->ended()) {
      co_await live->changed().Wait();
      const bool cancelled = co_await Cancelled();
      if (cancelled)
        co_return Err(ErrorCode::kCanceled,
                      "the sandbox is being ended; nobody waits for it any more");
    }
  }
  co_return context_.store.GetSandbox(id);
}

Awaitable<Result<void>> Sandboxes::StreamEvents(SandboxId id, bool follow,
                                                rpc::Writer<v1::SandboxEvent>& out) {
  CR_CO_TRY(CheckId(id, "sandbox id"));
  CR_CO_TRY(context_.store.GetSandbox(id));
  int64_t last = 0;
  for (;;) {
    // Held from before the look into the records, so that a change in between is not missed.
    auto live = FindLive(id);
    auto events = context_.store.ListEvents(id, last, kEventsAtOnce);
    if (!events) co_return Err(std::move(events).error());
    bool final = false;
    for (const store::SandboxEventRecord& event : *events) {
      const v1::SandboxEvent message = ToMessage(event);
      auto written = co_await out.Write(message);
      if (!written) co_return written;
      last = event.sequence;
      final = store::IsFinal(event.status);
    }
    if (final) co_return Result<void>();
    if (!events->empty()) continue;
    if (!follow || !live || live->ended()) co_return Result<void>();
    co_await live->changed().Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "no longer followed");
  }
}

void Sandboxes::ReapIdle() {
  for (const auto& [id, sandbox] : live_) {
    if (!sandbox->IdleTooLong()) continue;
    Log(LogLevel::kInfo, "idle limit reached", Field("sandbox_id", id),
        Field("ttl_minutes", sandbox->record().ttl_minutes));
    sandbox->RequestStop(Error(
        ErrorCode::kDeadlineExceeded,
        fmt::format("idle for {} minute{} (--keep lifts the limit)", sandbox->record().ttl_minutes,
                    sandbox->record().ttl_minutes == 1 ? "" : "s")));
  }
}

Awaitable<void> Sandboxes::Shutdown() {
  shutting_down_ = true;
  for (const auto& [id, sandbox] : live_)
    sandbox->RequestStop(Error(ErrorCode::kUnavailable, "the daemon was stopped"));
  co_await lives_.Join();
}

Awaitable<Result<void>> Sandboxes::Recover() {
  std::map<SandboxId, FoundWarden> wardens;
  for (FoundWarden& warden : FindWardens(context_.layout.Sandboxes()))
    wardens[warden.sandbox_id] = std::move(warden);
  auto records = context_.store.ListSandboxes(store::RecordStore::Which::kLive);
  if (!records) co_return Err(std::move(records).error());

  for (const store::SandboxRecord& record : *records) {
    const auto found = wardens.find(record.id);
    if (record.status == store::SandboxStatus::kReady && found != wardens.end()) {
      auto warden = WardenProcess::Adopt(found->second);
      if (warden) {
        auto sandbox = std::make_shared<LiveSandbox>(executor_, context_, observers_, record);
        live_[record.id] = sandbox;
        lives_.Spawn(RunAdopt(sandbox, std::move(*warden)));
        continue;
      }
    }
    co_await SettleLost(record);
  }
  co_await RemoveStrays();
  co_return Result<void>();
}

// A sandbox that cannot go on: its warden is gone, or it was on its way up or down.
Awaitable<void> Sandboxes::SettleLost(store::SandboxRecord record) {
  for (const FoundWarden& found : FindWardens(context_.layout.Sandboxes())) {
    if (found.sandbox_id != record.id) continue;
    auto warden = WardenProcess::Adopt(found);
    if (!warden) continue;
    warden->Kill();
    const bool gone = co_await warden->WaitEnd(steady_clock::now() + kKillWait);
    if (!gone)
      Log(LogLevel::kError, "a killed warden does not end", Field("sandbox_id", record.id),
          Field("warden_pid", found.pid));
  }
  LiveSandbox lost(executor_, context_, observers_, record);
  co_await observers_.OnEnding(lost);
  const auto told = ReadWardenEnd(context_.layout, record.id);
  auto removed =
      co_await RemoveRemains(context_.pool, context_.settings, context_.layout, record.id);
  (void)removed;  // logged

  record.updated_us = MicrosOf(context_.clock());
  if (record.status == store::SandboxStatus::kStopping) {
    record.status = store::SandboxStatus::kStopped;
  } else {
    const bool ready = record.status == store::SandboxStatus::kReady;
    Error why =
        ready ? Error(ErrorCode::kUnavailable,
                      "the sandbox was lost: its warden ended while no daemon ran")
              : Error(ErrorCode::kCanceled, "the daemon ended while the sandbox was being created");
    auto last_words = told ? WhyEnded(*told) : std::nullopt;
    if (ready && last_words) {
      why = *std::move(last_words);
      record.console_tail = PlainText(told->console_tail(), kConsoleBytes);
    }
    record.reason = store::Reason::Of(why);
    record.status = store::SandboxStatus::kFailed;
  }
  Log(LogLevel::kWarn, "sandbox settled after a restart", Field("sandbox_id", record.id),
      Field("reason", record.reason.ToString()));
  auto written = context_.store.UpdateSandbox(record, record.reason.ToString());
  if (!written)
    Log(LogLevel::kError, "cannot persist a state", Field("sandbox_id", record.id),
        Field("error", written.error()));
}

Awaitable<void> Sandboxes::RemoveStrays() {
  for (const FoundWarden& found : FindWardens(context_.layout.Sandboxes())) {
    if (live_.contains(found.sandbox_id)) continue;
    auto warden = WardenProcess::Adopt(found);
    if (!warden) continue;
    Log(LogLevel::kWarn, "ending a warden without a record", Field("sandbox_id", found.sandbox_id),
        Field("warden_pid", found.pid));
    warden->Kill();
    const bool gone = co_await warden->WaitEnd(steady_clock::now() + kKillWait);
    if (!gone)
      Log(LogLevel::kError, "a killed warden does not end", Field("warden_pid", found.pid));
  }
  std::error_code error;
  std::vector<std::filesystem::path> strays;
  for (std::filesystem::directory_iterator it(context_.layout.Sandboxes(), error), end;
       !error && it != end; it.increment(error)) {
    if (!live_.contains(SandboxId(it->path().filename()))) strays.push_back(it->path());
  }
  for (const std::filesystem::path& stray : strays) {
    Log(LogLevel::kWarn, "removing a folder without a sandbox", Field("folder", stray.string()));
    const SandboxId id(stray.filename());
    auto removed = co_await RemoveRemains(context_.pool, context_.settings, context_.layout, id);
    (void)removed;  // logged
  }
  if (!context_.settings.cgroups) co_return;
  for (const std::string& id : context_.settings.cgroups->List()) {
    if (live_.contains(SandboxId(id))) continue;
    const auto removed = context_.settings.cgroups->Remove(id);
    if (!removed) Log(LogLevel::kError, removed.error().ToString());
  }
}

void Sandboxes::WriteMetrics(telemetry::MetricsText& out) const {
  constexpr std::string_view kName = "cleanroom_sandboxes";
  out.Family(kName, telemetry::MetricsText::Type::kGauge, "Sandboxes that have not ended.");
  std::map<store::SandboxStatus, uint64_t> counts = {{store::SandboxStatus::kProvisioning, 0},
                                                     {store::SandboxStatus::kReady, 0},
                                                     {store::SandboxStatus::kStopping, 0}};
  const auto live = List(store::RecordStore::Which::kLive);
  if (live) {
    for (const store::SandboxRecord& record : *live) ++counts[record.status];
  }
  for (const auto& [status, count] : counts) {
    out.Sample(kName, {{"status", std::string(ToString(status))}}, count);
  }
}

}  // namespace cleanroom::server
