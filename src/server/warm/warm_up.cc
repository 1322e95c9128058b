#include "server/warm/warm_up.h"

#include <chrono>
#include <utility>

#include "server/launch/admission.h"
#include "server/launch/launch_request.h"

namespace cleanroom::server {

using std::chrono::steady_clock;

Awaitable<Result<WarmedUp>> WarmUp::Run(LaunchPlan plan, ProgressFn progress) {
  const auto begin = steady_clock::now();
  const store::SandboxRecord& record = plan.record;
  const auto use = resources_.UseImage(record.image_digest);
  auto image = co_await resources_.Image(record.image_ref, progress);
  if (!image) co_return Err(std::move(image).error());
  auto machine = co_await resources_.Machine(record.backend, progress);
  if (!machine) co_return Err(std::move(machine).error());
  WarmedUp warmed;
  warmed.image_ref = record.image_ref;
  warmed.was_present = image->was_present;
  const MachineShape shape = ShapeOf(record, *std::move(image), *std::move(machine));

  auto found = co_await templates_.Find(shape);
  if (found) {
    warmed.key = found->key;
  } else {
    warmed.was_present = false;
    CR_CO_TRY_ASSIGN(const HostRoom room, resources_.Room());
    CR_CO_TRY(Admit(room, record.memory_mib, 0));
    progress({.phase = "template", .message = "booting a machine and saving it"});
    auto made = co_await templates_.Make(shape);
    if (!made) co_return Err(std::move(made).error());
    warmed.key = made->key;
  }
  warm_.Launched(shape);
  warmed.disk_bytes = co_await SizeOf(warmed.key);
  const std::chrono::duration<double, std::milli> spent = steady_clock::now() - begin;
  warmed.milliseconds = spent.count();
  co_return warmed;
}

Awaitable<uint64_t> WarmUp::SizeOf(std::string key) {
  auto entries = co_await templates_.List();
  if (!entries) co_return 0;
  for (const vmm::TemplateStore::Entry& entry : *entries) {
    if (entry.key == key) co_return entry.disk_bytes;
  }
  co_return 0;
}

}  // namespace cleanroom::server
