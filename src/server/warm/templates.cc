#include "server/warm/templates.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "base/id.h"
#include "cleanroom/internal/v1/warden.rpc.h"
#include "os/file.h"
#include "server/launch/admission.h"
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

// For the boot, the warming and the saving; a busy host takes several times what an idle one does.
constexpr milliseconds kMakeLimit{90'000};
constexpr std::chrono::seconds kCallSlack{5};
// After a failure, until it is tried again for somebody who did not ask for a template.
constexpr std::chrono::minutes kRetry{5};
// Nobody waits for it, and somebody runs commands meanwhile.
constexpr int kNiceness = 10;
// Of some 130 MB each. Beyond them the one goes that has not been used for longest.
constexpr size_t kMaxTemplates = 16;

void RemoveSurplus(const vmm::TemplateStore& store, const std::string& newest) {
  auto entries = store.List();
  if (!entries || entries->size() <= kMaxTemplates) return;
  std::ranges::sort(*entries, {}, &vmm::TemplateStore::Entry::used_at);
  size_t surplus = entries->size() - kMaxTemplates;
  for (const auto& entry : *entries) {
    if (surplus == 0) break;
    if (entry.key == newest) continue;
    (void)store.Remove(entry.key);
    --surplus;
  }
}

}  // namespace

Templates::Templates(asio::any_io_executor executor, LaunchResources& resources, BlockingPool& pool,
                     const Settings& settings, const Layout& layout, WallClock clock)
    : executor_(executor),
      resources_(resources),
      pool_(pool),
      settings_(settings),
      layout_(layout),
      clock_(std::move(clock)),
      store_(layout.Templates()),
      tasks_(executor),
      changed_(executor) {}

Awaitable<std::optional<vmm::Template>> Templates::Find(MachineShape shape) {
  if (shape.machine.identity.empty()) co_return std::nullopt;
  const vmm::TemplateInputs inputs = InputsOf(shape);
  const bool verified = verified_.contains(TemplateKey(inputs));
  const vmm::TemplateStore store = store_;
  auto work = [store, inputs, verified]() -> std::optional<vmm::Template> {
    auto found = store.Find(inputs);
    if (!found || !*found) return std::nullopt;
    if (!verified && !store.Verify(**found)) {
      (void)store.Remove((*found)->key);
      return std::nullopt;
    }
    store.Touch(**found);
    return *found;
  };
  auto found = co_await pool_.Run(work);
  if (found) {
    verified_.insert(found->key);
  } else {
    verified_.erase(TemplateKey(inputs));
  }
  co_return found;
}

std::shared_ptr<Templates::Job> Templates::Begin(const MachineShape& shape) {
  const std::string key = TemplateKey(InputsOf(shape));
  auto& job = jobs_[key];
  if (!job) {
    job = std::make_shared<Job>(Job{.shape = shape, .outcome = {}, .unwanted = false});
    tasks_.Spawn(Run(job));
  }
  return job;
}

Awaitable<Result<vmm::Template>> Templates::Make(MachineShape shape) {
  if (shape.machine.identity.empty() || stopping_) {
    co_return Err(ErrorCode::kUnavailable, "no templates are made now");
  }
  const auto job = Begin(shape);
  while (!job->outcome) {
    co_await changed_.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "cancelled while a template was made");
  }
  co_return *job->outcome;
}

bool Templates::Has(const MachineShape& shape) const {
  return verified_.contains(TemplateKey(InputsOf(shape)));
}

void Templates::Want(const MachineShape& shape) {
  if (shape.machine.identity.empty() || stopping_ || Has(shape)) return;
  const std::string key = TemplateKey(InputsOf(shape));
  const auto failed = failed_.find(key);
  if (failed != failed_.end() && steady_clock::now() - failed->second < kRetry) return;
  Begin(shape);
}

Awaitable<void> Templates::Run(std::shared_ptr<Job> job) {
  co_await TakeTurn();
  Result<vmm::Template> made = Err(ErrorCode::kCanceled, "the daemon is stopping");
  if (!stopping_) made = co_await MakeNow(job->shape);
  busy_ = false;
  const std::string key = TemplateKey(InputsOf(job->shape));
  if (made && job->unwanted) {
    auto removed = co_await Remove(key);
    made = removed ? Err(ErrorCode::kCanceled, "the image was removed meanwhile")
                   : Err(std::move(removed).error());
  }
  if (made) {
    verified_.insert(key);
    failed_.erase(key);
  } else {
    failed_[key] = steady_clock::now();
  }
  job->outcome = std::move(made);
  jobs_.erase(key);
  changed_.NotifyAll();
}

Awaitable<void> Templates::TakeTurn() {
  while (busy_ && !stopping_) co_await changed_.Wait();
  busy_ = true;
}

Awaitable<Result<vmm::Template>> Templates::MakeNow(const MachineShape& shape) {
  auto present = co_await Find(shape);
  if (present) co_return *present;
  const auto begin = steady_clock::now();
  const SandboxId id = SandboxId::New(clock_());
  const std::string folder = layout_.Sandbox(id);
  auto saved = co_await SaveMachine(id, shape);
  const vmm::TemplateInputs inputs = InputsOf(shape);
  const vmm::TemplateStore store = store_;
  auto work = [store, inputs, folder, saved, groups = settings_.cgroups,
               id]() -> Result<vmm::Template> {
    CR_TRY(saved);
    // Nobody is left who could write to what is digested now.
    if (groups) CR_TRY(groups->Remove(id.text()));
    auto made = store.Add(inputs, folder);
    if (made) RemoveSurplus(store, made->key);
    return made;
  };
  auto made = co_await pool_.Run(work);
  auto removed = co_await RemoveRemains(pool_, settings_, layout_, id);
  (void)removed;  // logged
  const std::chrono::duration<double, std::milli> spent = steady_clock::now() - begin;
  if (made) {
    Log(LogLevel::kInfo, "template made", Field("key", made->key),
        Field("image", shape.image_digest), Field("ms", static_cast<int64_t>(spent.count())));
  } else {
    Log(LogLevel::kWarn, "no template was made", Field("image", shape.image_digest),
        Field("error", made.error()));
  }
  co_return made;
}

// A guest's memory that finds no room in its file kills the machine, and a full disk hurts others.
Result<void> Templates::CheckRoom(const MachineShape& shape) const {
  CR_TRY_ASSIGN(const HostRoom room, resources_.Room());
  const int64_t needed = shape.memory_mib + kDiskReserveMib;
  if (room.disk_mib >= needed) return {};
  return Err(ErrorCode::kResourceExhausted,
             fmt::format("a template may take {} MiB, and {} MiB are free in {}", needed,
                         room.disk_mib, settings_.state_dir.string()));
}

Awaitable<Result<void>> Templates::SaveMachine(const SandboxId& id, const MachineShape& shape) {
  CR_CO_TRY(CheckRoom(shape));
  const std::string disk = layout_.Disk(id);
  CR_CO_TRY(os::MakeDirs(layout_.Sandbox(id)));
  auto formatted = co_await resources_.MakeDisk(disk, shape.disk_mib);
  CR_CO_TRY(formatted);
  CR_CO_TRY(os::WriteFileAtomic(layout_.TemplateMemory(id), ""));
  CR_CO_TRY_ASSIGN(WardenLink link,
                   StartWarden(executor_, settings_, layout_, id, shape, Origin()));
  tasks_.Spawn(EnterGroups(pool_, link.groups, link.process->pid()));
  (void)setpriority(PRIO_PROCESS, static_cast<id_t>(link.process->pid()), kNiceness);
  pb::MakeTemplateRequest request;
  *request.mutable_machine() = ToMessage(shape, disk, vmm::Boot());
  const milliseconds limit = OnThisHost(kMakeLimit, settings_);
  request.set_deadline_ms(limit.count());
  rpc::CallOptions options;
  options.deadline = steady_clock::now() + limit + kCallSlack;
  auto answer = co_await pb::WardenStub(*link.channel).MakeTemplate(request, options);
  co_await KillWarden(link);
  if (!answer) co_return Err(std::move(answer).error());
  co_return Result<void>();
}

Awaitable<Result<std::vector<vmm::TemplateStore::Entry>>> Templates::List() {
  const vmm::TemplateStore store = store_;
  auto work = [store] { return store.List(); };
  auto entries = co_await pool_.Run(work);
  co_return entries;
}

Awaitable<Result<void>> Templates::Remove(std::string key) {
  verified_.erase(key);
  const vmm::TemplateStore store = store_;
  auto work = [store, key] { return store.Remove(key); };
  auto removed = co_await pool_.Run(work);
  co_return removed;
}

Awaitable<Result<void>> Templates::RemoveOf(std::string image_digest) {
  for (const auto& [key, job] : jobs_) {
    if (job->shape.image_digest == image_digest) job->unwanted = true;
  }
  auto entries = co_await List();
  if (!entries) co_return Err(std::move(entries).error());
  for (const vmm::TemplateStore::Entry& entry : *entries) {
    if (entry.inputs.image_digest != image_digest) continue;
    auto removed = co_await Remove(entry.key);
    CR_CO_TRY(removed);
  }
  co_return Result<void>();
}

Awaitable<void> Templates::RemoveStale(std::string machine) {
  co_await TakeTurn();  // what is half made looks stale
  const vmm::TemplateStore store = store_;
  auto work = [store, machine] { return store.RemoveStale(machine); };
  auto removed = co_await pool_.Run(work);
  busy_ = false;
  changed_.NotifyAll();
  if (!removed)
    Log(LogLevel::kWarn, "cannot remove old templates", Field("error", removed.error()));
  if (removed && *removed > 0)
    Log(LogLevel::kInfo, "removed old templates", Field("count", *removed));
}

Awaitable<void> Templates::Shutdown() {
  stopping_ = true;
  tasks_.Cancel();
  changed_.NotifyAll();
  co_await tasks_.Join();
}

}  // namespace cleanroom::server
