#include "server/network/network_records.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <charconv>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "base/id.h"
#include "cleanroom/internal/v1/warden.rpc.h"
#include "os/file.h"
#include "server/warden/remains.h"
#include "telemetry/log.h"
#include "warden_link/network_spool.h"

namespace cleanroom::server {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

using std::chrono::steady_clock;

// Records read from a spool in one visit to the pool.
constexpr size_t kSpoolBatch = 1024;
// Between attempts when a warden does not answer or the audit log cannot be written.
constexpr std::chrono::seconds kRetry{1};
// For an ended sandbox's lines to reach the audit log; a full disk must not keep it.
constexpr std::chrono::seconds kAuditLimit{5};
// For a reader of the API to see what the warden has recorded by now.
constexpr std::chrono::seconds kCatchUpLimit{2};

constexpr const char* kCursorName = "network.cursor";

std::string CursorFile(const Layout& layout, const SandboxId& id) {
  return layout.Sandbox(id) + "/" + kCursorName;
}

// In place and of one size, so that it is never torn. A folder that is gone needs none. The folder
// is also the warden's, which may have put something else there.
void WriteCursor(const std::string& file, uint64_t sequence) {
  auto fd = os::Open(file, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK);
  if (!fd) return;
  const std::string text = fmt::format("{:020}", sequence);
  if (pwrite(fd->get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    Log(LogLevel::kWarn, "cannot note the last network record", Field("file", file));
}

// Nothing when no control plane has seen the sandbox ready.
std::optional<uint64_t> ReadCursor(const Layout& layout, const SandboxId& id) {
  const auto text = ReadRemains(layout, id, kCursorName);
  if (!text) return std::nullopt;
  uint64_t value = 0;
  std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

std::string ToJson(const google::protobuf::Message& message) {
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text);
  return status.ok() ? text : std::string();
}

// Of a sandbox: those of its decisions, and a few of its life.
constexpr int64_t kMaxEvents = 2 * kMaxNetworkEvents;
using Records = std::vector<store::SandboxEventRecord>;

std::string EventKey(const v1::NetworkDecision& decision) {
  return fmt::format("{} {} {} {}", decision.service(), decision.destination(), decision.port(),
                     decision.reason_code());
}

}  // namespace

struct NetworkRecords::Live {
  Live(asio::any_io_executor executor, SandboxId sandbox_id, uint64_t last_audited)
      : id(std::move(sandbox_id)), audited(last_audited), changed(std::move(executor)) {}
  SandboxId id;
  uint64_t taken = 0;    // the last record in the history
  uint64_t audited = 0;  // the last one in the audit log
  uint64_t queued = 0;   // the last one on its way there
  NetworkHistory history;
  pb::NetworkCounters counters;
  bool counted = false;      // counters are those of the sandbox, not yet none
  bool from_before = false;  // an earlier control plane has counted it
  size_t events = 0;
  std::set<std::string> told;  // in events of before a restart
  bool ended = false;
  std::weak_ptr<LiveSandbox> sandbox;
  Notifier changed;
};

NetworkRecords::NetworkRecords(asio::any_io_executor executor, store::RecordStore& store,
                               BlockingPool& pool, const Settings& settings, const Layout& layout,
                               WallClock clock)
    : executor_(executor),
      store_(store),
      pool_(pool),
      layout_(layout),
      clock_(std::move(clock)),
      queued_(executor),
      written_(executor),
      tasks_(executor) {
  audit_limits_.keep = std::chrono::days(settings.audit_days);
  audit_ = std::make_shared<AuditLog>(layout.Audit(), audit_limits_);
}

NetworkRecords::~NetworkRecords() = default;

void NetworkRecords::Start() { tasks_.Spawn(WriteAudit()); }

Awaitable<void> NetworkRecords::Shutdown() {
  stopping_ = true;
  queued_.NotifyAll();
  co_await tasks_.Join();
}

std::shared_ptr<NetworkRecords::Live> NetworkRecords::Open(const SandboxId& id, uint64_t audited) {
  auto live = std::make_shared<Live>(executor_, id, audited);
  live->queued = audited;
  auto events = store_.ListEvents(id, 0, kMaxEvents);
  for (const store::SandboxEventRecord& record : events.value_or(Records())) {
    if (record.network.empty()) continue;
    live->told.insert(EventKey(ToMessage(record).network()));
    ++live->events;
  }
  live_[id] = live;
  return live;
}

void NetworkRecords::OnReady(const std::shared_ptr<LiveSandbox>& sandbox) {
  const auto cursor = ReadCursor(layout_, sandbox->id());
  if (!cursor) WriteCursor(CursorFile(layout_, sandbox->id()), 0);
  auto live = Open(sandbox->id(), cursor.value_or(0));
  live->from_before = cursor.has_value();
  live->sandbox = sandbox;
  sandbox->tasks().Spawn(Follow(sandbox, live));
}

Awaitable<void> NetworkRecords::Follow(std::shared_ptr<LiveSandbox> sandbox,
                                       std::shared_ptr<Live> live) {
  for (;;) {
    const auto channel = sandbox->channel();
    auto watched = co_await Watch(channel, live, true);
    const bool cancelled = co_await Cancelled();
    if (cancelled || !channel->alive() || !sandbox->ready()) co_return;
    if (!watched) {
      Log(LogLevel::kWarn, "network decisions are not followed", Field("sandbox_id", live->id),
          Field("error", watched.error()));
    }
    auto slept = co_await SleepFor(kRetry);
    if (!slept) co_return;
  }
}

Awaitable<Result<void>> NetworkRecords::Watch(std::shared_ptr<rpc::Channel> channel,
                                              std::shared_ptr<Live> live, bool follow) {
  pb::WatchNetworkRequest request;
  request.set_after_sequence(live->taken);
  request.set_follow(follow);
  auto events = co_await pb::WardenStub(*channel).WatchNetwork(std::move(request));
  if (!events) co_return Err(std::move(events).error());
  for (;;) {
    auto event = co_await events->Next();
    if (!event) co_return Err(std::move(event).error());
    if (!*event) co_return Result<void>();
    if ((*event)->has_counters()) TakeCounters(*live, (*event)->counters());
    if ((*event)->has_record()) Take(live, std::move(*(*event)->mutable_record()));
    while (follow && queue_.size() >= kMaxAuditQueue) {
      co_await written_.Wait();
      const bool cancelled = co_await Cancelled();
      if (cancelled) co_return Err(ErrorCode::kCanceled, "no longer followed");
    }
  }
}

void NetworkRecords::Take(const std::shared_ptr<Live>& live, pb::NetworkRecord record) {
  const uint64_t sequence = record.sequence();
  if (sequence <= live->taken) return;
  live->taken = sequence;
  const v1::NetworkDecision decision = ToDecision(record);
  const bool note = decision.service().empty();  // of the log itself
  const bool known = note || !live->history.Add(decision);
  const bool event = !known && !decision.allowed() && live->events < kMaxNetworkEvents &&
                     !live->told.contains(EventKey(decision));
  if (sequence <= live->queued) return;  // told before a restart

  if (event) ++live->events;
  live->queued = sequence;
  queue_.push_back({live, sequence, AuditLine(live->id, record)});
  queued_.NotifyAll();
  if (!note) live->history.Tell(decision);
  if (event) {
    auto added = store_.AddNetworkEvent(live->id, ToJson(decision), SaneMicros(record.time_us()));
    if (!added)
      Log(LogLevel::kError, "cannot persist an event", Field("sandbox_id", live->id),
          Field("error", added.error()));
    const auto sandbox = live->sandbox.lock();
    if (sandbox) sandbox->changed().NotifyAll();
  }
  live->changed.NotifyAll();
}

void NetworkRecords::TakeCounters(Live& live, const pb::NetworkCounters& counters) {
  // What an earlier control plane counted is not counted again, but what is open is open.
  if (!live.counted && live.from_before) {
    live.counters = counters;
    for (auto& traffic : *live.counters.mutable_traffic()) traffic.set_open(0);
  }
  live.counted = true;
  totals_.Add(live.counters, counters);
  live.counters = counters;
}

Awaitable<void> NetworkRecords::OnEnding(LiveSandbox& sandbox) {
  const auto found = live_.find(sandbox.id());
  auto live = found == live_.end() ? nullptr : found->second;
  if (!live) {
    const auto cursor = ReadCursor(layout_, sandbox.id());
    live = Open(sandbox.id(), cursor.value_or(0));
    live->from_before = cursor.has_value();
  }
  co_await ReadSpool(live);

  pb::NetworkCounters counters = live->counters;
  const auto bytes = ReadRemains(layout_, sandbox.id(), warden_link::kCountersFile);
  if (bytes) {
    pb::NetworkCounters last;
    if (last.ParseFromString(*bytes)) counters = std::move(last);
  }
  for (auto& traffic : *counters.mutable_traffic()) traffic.set_open(0);
  // Those of a sandbox that nobody watched in this control plane were counted before, or never.
  if (live->counted || !live->from_before) TakeCounters(*live, counters);

  const v1::SandboxNetwork distinct = live->history.Distinct();
  if (distinct.decisions_size() > 0) {
    auto kept = store_.SetNetwork(live->id, ToJson(distinct));
    if (!kept)
      Log(LogLevel::kError, "cannot keep network decisions", Field("sandbox_id", live->id),
          Field("error", kept.error()));
  }
  const auto deadline = steady_clock::now() + kAuditLimit;
  while (live->audited < live->queued) {
    const bool in_time = co_await written_.WaitUntil(deadline);
    if (!in_time) {
      Log(LogLevel::kError, "the audit log is behind", Field("sandbox_id", live->id),
          Field("lines", live->queued - live->audited));
      break;
    }
  }
  live->ended = true;
  live->changed.NotifyAll();
  live_.erase(live->id);  // streams under way hold it
}

// What the warden recorded and nobody has taken.
Awaitable<void> NetworkRecords::ReadSpool(std::shared_ptr<Live> live) {
  using Batch = std::vector<pb::NetworkRecord>;
  const auto reader = std::make_shared<warden_link::NetworkSpoolReader>(layout_.Sandbox(live->id));
  for (;;) {
    const uint64_t after = live->taken;
    auto work = [reader, after, id = live->id] {
      Batch batch;
      while (batch.size() < kSpoolBatch) {
        auto record = reader->Next();
        if (!record) {
          Log(LogLevel::kWarn, "network records are damaged", Field("sandbox_id", id),
              Field("error", record.error()));
          if (record.error().code() != ErrorCode::kDataCorrupt) break;
          continue;  // with the next piece
        }
        if (!*record) break;
        if ((*record)->sequence() > after) batch.push_back(std::move(**record));
      }
      return batch;
    };
    Batch batch = co_await pool_.Run(work);
    if (batch.empty()) co_return;
    for (pb::NetworkRecord& record : batch) Take(live, std::move(record));
  }
}

Awaitable<void> NetworkRecords::WriteAudit() {
  for (;;) {
    if (queue_.empty()) {
      if (stopping_) co_return;
      co_await queued_.Wait();
      continue;
    }
    std::vector<Line> lines = std::exchange(queue_, {});
    std::string text;
    std::map<std::string, uint64_t> cursors;
    for (const Line& line : lines) {
      text += line.text;
      cursors[CursorFile(layout_, line.live->id)] = line.sequence;
    }
    const auto now = clock_();
    auto work = [audit = audit_, text = std::move(text), cursors = std::move(cursors), now] {
      auto appended = audit->Append(text, now);
      if (!appended) return appended;
      for (const auto& [file, sequence] : cursors) WriteCursor(file, sequence);
      return appended;
    };
    const Result<void> appended = co_await pool_.Run(work);
    if (appended) {
      for (const Line& line : lines) line.live->audited = line.sequence;
      written_.NotifyAll();
      continue;
    }
    Log(LogLevel::kError, "cannot write the audit log", Field("error", appended.error()));
    if (stopping_) co_return;
    queue_.insert(queue_.begin(), std::make_move_iterator(lines.begin()),
                  std::make_move_iterator(lines.end()));
    auto slept = co_await SleepFor(kRetry);
    (void)slept;
  }
}

Awaitable<void> NetworkRecords::Prune() {
  // By a log of its own: the other belongs to the writer.
  const std::string folder = layout_.Audit();
  const AuditLog::Limits limits = audit_limits_;
  const auto now = clock_();
  auto work = [folder, limits, now] { return AuditLog(folder, limits).Prune(now); };
  const auto removed = co_await pool_.Run(work);
  if (!removed) {
    Log(LogLevel::kError, "cannot remove old audit files", Field("error", removed.error()));
    co_return;
  }
  for (const std::string& name : *removed)
    Log(LogLevel::kInfo, "old audit file removed", Field("file", name));
}

Awaitable<Result<void>> NetworkRecords::Stream(SandboxId sandbox_id, bool follow,
                                               rpc::Writer<v1::NetworkDecision>& out) {
  CR_CO_TRY(CheckId(sandbox_id, "sandbox id"));
  CR_CO_TRY(store_.GetSandbox(sandbox_id));
  const auto found = live_.find(sandbox_id);
  const auto live = found == live_.end() ? nullptr : found->second;
  v1::SandboxNetwork distinct;
  uint64_t next = 0;
  if (live) {
    // So that whoever has just been refused something finds it here.
    const auto sandbox = live->sandbox.lock();
    const auto channel = sandbox ? sandbox->channel() : nullptr;
    if (channel && !live->ended) {
      auto caught_up = co_await WithDeadline(Watch(channel, live, false),
                                             steady_clock::now() + kCatchUpLimit, "the warden");
      (void)caught_up;
    }
    distinct = live->history.Distinct();
    next = live->history.feed_end();
  } else {
    CR_CO_TRY_ASSIGN(const std::string kept, store_.GetNetwork(sandbox_id));
    if (!kept.empty()) {
      const auto parsed = google::protobuf::util::JsonStringToMessage(kept, &distinct);
      if (!parsed.ok())
        co_return Err(ErrorCode::kDataCorrupt, "the kept network decisions are damaged");
    }
  }
  for (const v1::NetworkDecision& decision : distinct.decisions()) {
    auto written = co_await out.Write(decision);
    if (!written) co_return written;
  }
  while (follow && live) {
    const NetworkHistory& history = live->history;
    v1::NetworkDecision decision;
    if (next < history.feed_begin()) {
      decision.set_missed(history.feed_begin() - next);
      next = history.feed_begin();
    } else if (next < history.feed_end()) {
      decision = history.feed(next++);
    } else if (live->ended) {
      break;
    } else {
      co_await live->changed.Wait();
      const bool cancelled = co_await Cancelled();
      if (cancelled) co_return Err(ErrorCode::kCanceled, "no longer followed");
      continue;
    }
    auto written = co_await out.Write(decision);
    if (!written) co_return written;
  }
  co_return Result<void>();
}

}  // namespace cleanroom::server
