#include "warden/network_log.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <functional>
#include <utility>

#include "os/file.h"
#include "telemetry/log.h"

namespace cleanroom::warden {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

// Records that a watcher reads before others get their turn.
constexpr size_t kReadsAtOnce = 64;

size_t IndexOf(doors::Service service) { return static_cast<size_t>(service); }

// What a person is told of a command's refusals. A destination that is allowed and down is the
// command's own trouble.
bool IsRefusal(doors::Code code) {
  return !doors::IsAllowed(code) && code != doors::Code::kResolverFailed &&
         code != doors::Code::kUpstreamFailed;
}

}  // namespace

NetworkLog::NetworkLog(asio::any_io_executor executor, const std::filesystem::path& folder,
                       NetworkClock clock)
    : clock_(std::move(clock)),
      folder_(folder),
      coalescer_(clock_.steady()),
      changed_(std::move(executor)) {
  auto spool = warden_link::NetworkSpoolWriter::Create(folder);
  if (spool) {
    spool_.emplace(std::move(*spool));
  } else {
    Log(LogLevel::kError, "network decisions are not recorded", Field("error", spool.error()));
  }
}

NetworkLog::~NetworkLog() = default;

int64_t NetworkLog::WallMicros() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(clock_.wall().time_since_epoch())
      .count();
}

void NetworkLog::Record(const doors::Decision& decision) {
  ++decisions_[{decision.service, decision.code}];
  ++counters_version_;
  if (IsRefusal(decision.code)) NoteRefusal(decision);
  const std::string execution = running_.size() == 1 ? running_.begin()->first : "";
  Append(coalescer_.Add(decision, execution, clock_.steady(), WallMicros()));
}

void NetworkLog::Transferred(doors::Service service, uint64_t sent, uint64_t received) {
  traffic_[IndexOf(service)].sent += sent;
  traffic_[IndexOf(service)].received += received;
  ++counters_version_;
}

void NetworkLog::Opened(doors::Service service, int change) {
  traffic_[IndexOf(service)].open += change;
  ++counters_version_;
}

void NetworkLog::ExecutionStarted(const std::string& id) { running_[id]; }

void NetworkLog::ExecutionEnded(const std::string& id, pb::ExecutionEnd& end) {
  const auto found = running_.find(id);
  if (found == running_.end()) return;
  for (pb::NetworkRecord& record : found->second.first) *end.add_refused() = std::move(record);
  end.set_refused_more(found->second.seen.size() - static_cast<size_t>(end.refused_size()));
  running_.erase(found);
}

void NetworkLog::NoteRefusal(const doors::Decision& decision) {
  if (running_.empty()) return;
  const size_t key =
      std::hash<std::string>()(fmt::format("{}{}{}{}{}", doors::ToString(decision.service), '\0',
                                           decision.Destination(), '\0', decision.port));
  for (auto& [id, refusals] : running_) {
    if (refusals.seen.size() >= kExecutionRefusalsCounted) continue;
    if (!refusals.seen.insert(key).second) continue;
    if (refusals.first.size() >= kExecutionRefusals) continue;
    pb::NetworkRecord record = DecisionCoalescer::ToRecord(decision);
    record.set_time_us(WallMicros());
    refusals.first.push_back(std::move(record));
  }
}

void NetworkLog::Append(std::vector<pb::NetworkRecord> records) {
  for (pb::NetworkRecord& record : records) {
    if (!spool_) {
      ++lost_;
      continue;
    }
    record.set_sequence(sequence_ + 1);
    auto written = spool_->Append(record);
    if (!written) {
      ++lost_;
      continue;
    }
    ++sequence_;
    const uint64_t dropped = spool_->TakeDropped();
    if (dropped == 0) continue;
    lost_ += dropped;
    // The bound itself is on record. It opens a new piece, so it has room.
    pb::NetworkRecord note;
    note.set_sequence(sequence_ + 1);
    note.set_time_us(WallMicros());
    note.set_last_us(note.time_us());
    note.set_reason_code("records_dropped");
    note.set_count(dropped);
    note.set_message(fmt::format(
        "the oldest {} records of this sandbox were dropped to keep its file small", dropped));
    if (spool_->Append(note)) ++sequence_;
  }
  if (!records.empty()) changed_.NotifyAll();
}

pb::NetworkCounters NetworkLog::counters() const {
  pb::NetworkCounters out;
  for (const auto& [key, count] : decisions_) {
    pb::NetworkCounters::Decisions& decisions = *out.add_decisions();
    decisions.set_service(std::string(doors::ToString(key.first)));
    decisions.set_allowed(doors::IsAllowed(key.second));
    decisions.set_reason_code(std::string(doors::ToString(key.second)));
    decisions.set_count(count);
  }
  for (size_t i = 0; i < kServices; ++i) {
    const Traffic& traffic = traffic_[i];
    if (traffic.sent == 0 && traffic.received == 0 && traffic.open == 0) continue;
    pb::NetworkCounters::Traffic& message = *out.add_traffic();
    message.set_service(std::string(doors::ToString(static_cast<doors::Service>(i))));
    message.set_sent(traffic.sent);
    message.set_received(traffic.received);
    message.set_open(traffic.open);
  }
  out.set_records_lost(lost_);
  return out;
}

void NetworkLog::Tick() {
  Append(coalescer_.Flush(clock_.steady()));
  changed_.NotifyAll();  // counters may be due
}

Awaitable<void> NetworkLog::Run() {
  for (;;) {
    auto slept = co_await SleepFor(kCounterInterval);
    if (!slept) co_return;
    Tick();
  }
}

void NetworkLog::Close() {
  if (closed_) return;
  closed_ = true;
  Append(coalescer_.FlushAll());
  for (Traffic& traffic : traffic_) traffic.open = 0;
  auto file =
      os::Open((folder_ / warden_link::kCountersFile).string(), O_WRONLY | O_CREAT | O_TRUNC);
  if (file) {
    const auto written =
        os::WriteAll(file->get(), counters().SerializeAsString(), warden_link::kCountersFile);
    if (!written)
      Log(LogLevel::kWarn, "network counters are lost", Field("error", written.error()));
  }
  changed_.NotifyAll();
}

Awaitable<Result<void>> NetworkLog::Watch(pb::WatchNetworkRequest request,
                                          rpc::Writer<pb::NetworkEvent>& out) {
  warden_link::NetworkSpoolReader reader(folder_);
  uint64_t last = request.after_sequence();
  uint64_t version = 0;
  std::chrono::steady_clock::time_point counted{};
  const auto executor = co_await asio::this_coro::executor;
  for (size_t read = 1;; ++read) {
    // A long replay does not keep the doors waiting.
    if (read % kReadsAtOnce == 0) co_await asio::post(executor, kAwait);
    auto record = reader.Next();
    if (!record) co_return Err(std::move(record).error());
    pb::NetworkEvent event;
    if (*record) {
      const uint64_t sequence = (*record)->sequence();
      if (sequence <= last) continue;
      event.set_missed(sequence - last - 1);
      last = sequence;
      *event.mutable_record() = std::move(**record);
      auto told = co_await out.Write(event);
      if (!told) co_return told;
      continue;
    }
    const bool ending = closed_ || !request.follow();
    const auto now = clock_.steady();
    if (version != counters_version_ && (ending || now - counted >= kCounterInterval)) {
      version = counters_version_;
      counted = now;
      *event.mutable_counters() = counters();
      auto told = co_await out.Write(event);
      if (!told) co_return told;
      continue;  // what happened meanwhile
    }
    if (ending) co_return Result<void>();
    co_await changed_.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "no longer watched");
  }
}

}  // namespace cleanroom::warden
