#include "server/warm/spares.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/id.h"
#include "cleanroom/internal/v1/warden.rpc.h"
#include "image/disk.h"
#include "os/file.h"
#include "server/launch/launch_plan.h"
#include "server/warden/remains.h"
#include "telemetry/log.h"

namespace cleanroom::server {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A template that nobody has used for this long keeps no spares.
constexpr std::chrono::minutes kInUse{10};
constexpr milliseconds kPrepareLimit{20'000};
// For a fork to leave its held machine's groups.
constexpr milliseconds kLeaveLimit{2000};
// How often budget and use are looked at when nothing happens.
constexpr std::chrono::seconds kLook{5};
// While others are being served.
constexpr milliseconds kPatience{20};
// Whoever has just got a machine is about to use it: until then, but not for ever.
constexpr milliseconds kSettle{250};
constexpr milliseconds kLongestWait{1000};
constexpr std::chrono::seconds kAfterFailure{30};
// What a spare machine takes at most of its own: measured, see docs/benchmarks.md.
constexpr int64_t kSpareMib = 96;
// The part of the available memory that spares may take without a limit in the configuration.
constexpr int64_t kShare = 8;

}  // namespace

Spares::Spares(asio::any_io_executor executor, Templates& templates, LaunchResources& resources,
               BlockingPool& pool, const Settings& settings, const Layout& layout, WallClock clock)
    : executor_(executor),
      templates_(templates),
      resources_(resources),
      pool_(pool),
      settings_(settings),
      layout_(layout),
      clock_(std::move(clock)),
      tasks_(executor),
      ends_(executor),
      changed_(executor) {}

std::optional<Spare> Spares::Claim(const store::SandboxRecord& wanted) {
  for (auto it = waiting_.begin(); it != waiting_.end(); ++it) {
    const MachineShape& shape = it->spare.shape;
    if (it->purpose != Purpose::kUse || shape.backend != wanted.backend ||
        shape.image_digest != wanted.image_digest || shape.vcpus != wanted.vcpus ||
        shape.memory_mib != wanted.memory_mib || shape.disk_mib != wanted.disk_mib ||
        !it->spare.link.channel->alive()) {
      continue;
    }
    std::optional<Spare> spare(std::move(it->spare));
    waiting_.erase(it);
    return spare;
  }
  return std::nullopt;
}

void Spares::Discard(Spare spare) { ends_.Spawn(End(std::move(spare))); }

std::optional<Origin> Spares::FindHeld(const MachineShape& shape) {
  const std::string key = TemplateKey(InputsOf(shape));
  for (const Waiting& one : waiting_) {
    if (one.key != key || one.purpose != Purpose::kHold || !one.spare.link.channel->alive()) {
      continue;
    }
    return Origin{.from = vmm::Fork{.socket = layout_.ForkSocket(one.spare.id)},
                  .disk_file = layout_.Disk(one.spare.id),
                  .groups = one.spare.link.groups};
  }
  return std::nullopt;
}

void Spares::DropHeld(const MachineShape& shape) {
  const std::string key = TemplateKey(InputsOf(shape));
  DiscardIf([&](const Waiting& one) { return one.key == key && one.purpose == Purpose::kHold; });
  changed_.NotifyAll();
}

Awaitable<std::optional<vmm::Template>> Spares::Find(MachineShape shape) {
  auto found = co_await templates_.Find(std::move(shape));
  co_return found;
}

Awaitable<void> Spares::Distrust(MachineShape shape) {
  const std::string key = TemplateKey(InputsOf(shape));
  auto removed = co_await templates_.Remove(key);
  if (!removed) Log(LogLevel::kWarn, removed.error().ToString());
}

void Spares::Launched(const MachineShape& shape) {
  if (stopping_) return;
  const auto now = steady_clock::now();
  if (now - last_launch_ >= kSettle) first_launch_ = now;
  last_launch_ = now;
  kinds_[TemplateKey(InputsOf(shape))] = {.shape = shape, .used = last_launch_};
  if (!templates_.Has(shape)) tasks_.Spawn(WantTemplate(shape));
  changed_.NotifyAll();
}

// The machine that it is made of would slow the owner's first command down.
Awaitable<void> Spares::WantTemplate(MachineShape shape) {
  while (!Served()) {
    auto slept = co_await SleepFor(kSettle);
    if (!slept) co_return;
  }
  templates_.Want(shape);
}

bool Spares::Served() const {
  const auto now = steady_clock::now();
  return now - last_launch_ >= kSettle || now - first_launch_ >= kLongestWait;
}

void Spares::Start(std::function<bool()> busy) { tasks_.Spawn(Keep(std::move(busy))); }

size_t Spares::Count(const std::string& key, Purpose purpose) const {
  return static_cast<size_t>(std::ranges::count_if(
      waiting_, [&](const Waiting& one) { return one.key == key && one.purpose == purpose; }));
}

size_t Spares::Budget() const {
  int64_t mib = 0;
  if (settings_.pool_memory_mib) mib = *settings_.pool_memory_mib;
  const auto room = resources_.Room();
  if (room) {
    const int64_t spare = std::max<int64_t>(0, room->memory_mib - kMemoryReserveMib) / kShare;
    mib = settings_.pool_memory_mib ? std::min(mib, spare * (kShare / 2)) : spare;
  }
  return static_cast<size_t>(mib / kSpareMib);
}

std::optional<Spares::Lack> Spares::Lacking() const {
  std::optional<Lack> best;
  for (const auto& [key, kind] : kinds_) {
    const bool hold =
        settings_.pool_hold && kind.shape.machine.can_hold && Count(key, Purpose::kHold) == 0;
    const auto wanted = static_cast<size_t>(settings_.pool_size);
    if (!hold && Count(key, Purpose::kUse) >= wanted) continue;
    if (best && kinds_.at(best->key).used >= kind.used) continue;
    best = Lack{.key = key, .purpose = hold ? Purpose::kHold : Purpose::kUse};
  }
  return best;
}

void Spares::DropUnused() {
  const auto oldest = steady_clock::now() - kInUse;
  std::erase_if(kinds_, [&](const auto& item) { return item.second.used < oldest; });
  const size_t budget = Budget();
  size_t kept = 0;
  DiscardIf([&](const Waiting& one) { return !kinds_.contains(one.key) || ++kept > budget; });
}

void Spares::DiscardIf(const std::function<bool(const Waiting&)>& goes) {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    const auto here = it++;
    if (!goes(*here)) continue;
    Discard(std::move(here->spare));
    waiting_.erase(here);
  }
}

void Spares::Drain(const std::optional<std::string>& image_digest) {
  const auto of_image = [&](const MachineShape& shape) {
    return !image_digest || shape.image_digest == *image_digest;
  };
  DiscardIf([&](const Waiting& one) { return of_image(one.spare.shape); });
  std::erase_if(kinds_, [&](const auto& item) { return of_image(item.second.shape); });
}

void Spares::DrainTemplate(const std::string& key) {
  DiscardIf([&](const Waiting& one) { return one.key == key; });
  kinds_.erase(key);
}

Awaitable<void> Spares::Keep(std::function<bool()> busy) {
  while (!stopping_) {
    DropUnused();
    const auto lack = Lacking();
    const bool room = waiting_.size() < Budget();
    if (templates_.making()) {
      co_await templates_.changed().WaitUntil(steady_clock::now() + kLook);
    } else if (!lack || !room) {
      co_await changed_.WaitUntil(steady_clock::now() + kLook);
    } else if (!Served() || (lack->purpose == Purpose::kUse && busy())) {
      // A machine to fork is worth its price also to those who are being served.
      co_await changed_.WaitUntil(steady_clock::now() + kPatience);
    } else {
      const MachineShape shape = kinds_.at(lack->key).shape;
      co_await Add(*lack, shape);
    }
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return;
  }
}

Awaitable<std::optional<Origin>> Spares::FindOrigin(Lack lack, MachineShape shape) {
  if (lack.purpose == Purpose::kUse) {
    auto held = FindHeld(shape);
    if (held) co_return held;
  }
  auto from = co_await templates_.Find(std::move(shape));
  if (!from) co_return std::nullopt;
  co_return FromTemplate(*from);
}

Awaitable<void> Spares::Add(Lack lack, MachineShape shape) {
  auto from = co_await FindOrigin(lack, shape);
  if (!from) {
    kinds_.erase(lack.key);  // the next launch asks for it again
    co_return;
  }
  const bool forked = std::holds_alternative<vmm::Fork>(from->from);
  Spare spare{.id = SandboxId::New(clock_()), .shape = std::move(shape), .link = {}};
  auto prepared = co_await Prepare(spare, *std::move(from), lack.purpose);
  if (prepared && !stopping_ && kinds_.contains(lack.key)) {
    waiting_.push_back(
        {.key = std::move(lack.key), .purpose = lack.purpose, .spare = std::move(spare)});
    co_return;
  }
  if (!prepared) {
    Log(LogLevel::kWarn, "no spare machine was made", Field("image", spare.shape.image_digest),
        Field("error", prepared.error()));
    if (forked) {
      DropHeld(spare.shape);
    } else {
      kinds_.erase(lack.key);
    }
  }
  Discard(std::move(spare));
  if (!prepared) (void)co_await SleepFor(kAfterFailure);
}

Awaitable<Result<void>> Spares::Prepare(Spare& spare, Origin from, Purpose purpose) {
  const std::string disk = layout_.Disk(spare.id);
  CR_CO_TRY(os::MakeDirs(layout_.LiveOutputs(spare.id)));
  const std::string source = from.disk_file;
  auto work = [source, disk] { return image::CopyDisk(source, disk); };
  auto copied = co_await pool_.Run(work);
  CR_CO_TRY(copied);
  CR_CO_TRY_ASSIGN(
      spare.link, StartWarden(executor_, settings_, layout_, spare.id, spare.shape, from, purpose));
  tasks_.Spawn(EnterGroups(pool_, spare.link.groups, spare.link.process->pid()));
  pb::PrepareMachineRequest request;
  *request.mutable_machine() = ToMessage(spare.shape, disk, from.from);
  request.set_hold(purpose == Purpose::kHold);
  const milliseconds limit = OnThisHost(kPrepareLimit, settings_);
  request.set_deadline_ms(limit.count());
  const auto channel = spare.link.channel;
  auto events = co_await pb::WardenStub(*channel).Prepare(std::move(request));
  if (!events) co_return Err(std::move(events).error());
  const auto deadline = steady_clock::now() + limit;
  for (;;) {
    auto event =
        co_await WithDeadline(events->Next(), deadline, "the machine was not ready in time");
    if (!event) co_return Err(std::move(event).error());
    if (!*event) co_return Err(ErrorCode::kUnavailable, "the warden ended without a word");
    if (!(*event)->has_ready()) continue;
    tasks_.Spawn(LeaveHeldGroups(pool_, spare.id, from.groups, spare.link.groups,
                                 (*event)->ready().vmm_pid()));
    break;
  }
  tasks_.Spawn(Watch(spare.id, *std::move(events)));
  co_return Result<void>();
}

// The stream ends when the machine does, or when it is launched.
Awaitable<void> Spares::Watch(
    SandboxId id, rpc::ClientStream<pb::PrepareMachineRequest, pb::LaunchEvent> events) {
  for (;;) {
    auto event = co_await events.Next();
    if (!event || !*event) break;
  }
  if (stopping_) co_return;  // it has not ended yet: Shutdown ends it
  const auto found =
      std::ranges::find(waiting_, id, [](const Waiting& one) { return one.spare.id; });
  if (found == waiting_.end()) co_return;
  Log(LogLevel::kWarn, "a spare machine has ended", Field("sandbox_id", id));
  Spare spare = std::move(found->spare);
  waiting_.erase(found);
  Discard(std::move(spare));
  changed_.NotifyAll();
}

Awaitable<void> Spares::End(Spare spare) {
  const std::vector<std::string> groups = spare.link.groups;
  co_await KillWarden(spare.link);
  // What was forked from it a moment ago is on its way into groups of its own.
  const auto deadline = steady_clock::now() + kLeaveLimit;
  while (os::HaveMembers(groups) && steady_clock::now() < deadline) {
    auto slept = co_await SleepFor(kPatience);
    if (!slept) break;
  }
  auto removed = co_await RemoveRemains(pool_, settings_, layout_, spare.id);
  (void)removed;  // logged
}

Awaitable<void> Spares::Shutdown() {
  stopping_ = true;
  tasks_.Cancel();
  co_await tasks_.Join();
  Drain(std::nullopt);
  co_await ends_.Join();
}

}  // namespace cleanroom::server
