#include "server/api/system_service.h"

#include <fmt/format.h>

#include "capability/check.h"
#include "server/api/capabilities.h"
#include "server/api/progress_relay.h"
#include "server/convert.h"
#include "server/launch/launch_request.h"

namespace cleanroom::server {
namespace {

namespace v1 = ::cleanroom::v1;
using capability::Check;

constexpr int64_t kMaxAgeSeconds = int64_t{100} * 366 * 24 * 3600;

v1::DoctorCheck ToMessage(const Check& check) {
  v1::DoctorCheck message;
  message.set_name(check.name);
  message.set_status(std::string(capability::ToString(check.status)));
  message.set_message(check.message);
  message.set_remedy(check.remedy);
  return message;
}

v1::StoredItem ToMessage(const StoredItem& item) {
  v1::StoredItem message;
  message.set_kind(std::string(item.kind));
  message.set_name(item.name);
  message.set_size_bytes(static_cast<int64_t>(item.bytes));
  if (item.made_at > 0) message.mutable_created_at()->set_seconds(item.made_at);
  message.mutable_last_used_at()->set_seconds(item.used_at);
  message.set_in_use(item.in_use);
  message.set_remote(item.remote);
  if (item.fetched_at > 0) message.mutable_fetched_at()->set_seconds(item.fetched_at);
  message.set_reclaimable(!item.in_use && item.pruning != Pruning::kNever);
  return message;
}

v1::Template ToMessage(const WarmedUp& warmed) {
  v1::Template message;
  message.set_key(warmed.key);
  message.set_size_bytes(static_cast<int64_t>(warmed.disk_bytes));
  message.set_milliseconds(warmed.milliseconds);
  message.set_was_present(warmed.was_present);
  message.set_image_ref(warmed.image_ref);
  return message;
}

Result<PruneRules> RulesOf(const v1::PruneRequest& request) {
  if (request.older_than_seconds() < 0 || request.older_than_seconds() > kMaxAgeSeconds) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("older_than_seconds must be between 0 and {}, not {}", kMaxAgeSeconds,
                           request.older_than_seconds()));
  }
  if (!request.remote().empty() && !request.mirrors())
    return Err(ErrorCode::kInvalidArgument, "remote goes with mirrors");
  using What = PruneRules::What;
  return PruneRules{.what = request.mirrors() ? What::kMirrors
                            : request.all()   ? What::kAll
                                              : What::kTemplates,
                    .remote = request.remote(),
                    .older_than = std::chrono::seconds(request.older_than_seconds())};
}

v1::PruneResponse ToMessage(const std::vector<StoredItem>& items) {
  v1::PruneResponse message;
  uint64_t freed = 0;
  for (const StoredItem& item : items) {
    *message.add_items() = ToMessage(item);
    freed += item.bytes;
  }
  message.set_freed_bytes(static_cast<int64_t>(freed));
  return message;
}

}  // namespace

SystemService::SystemService(SystemContext context)
    : context_(std::move(context)), capabilities_(TrueOnes(CapabilitiesOf("qemu"))) {}

Awaitable<Result<v1::GetVersionResponse>> SystemService::GetVersion(rpc::CallContext&,
                                                                    v1::GetVersionRequest) {
  v1::GetVersionResponse response;
  response.set_version(CLEANROOM_VERSION);
  co_return response;
}

Awaitable<Result<v1::DoctorResponse>> SystemService::Doctor(rpc::CallContext&, v1::DoctorRequest) {
  v1::DoctorResponse response;
  for (CheckSource* source : context_.checks) {
    const auto checks = co_await source->Checks();
    for (const Check& check : checks) *response.add_checks() = ToMessage(check);
  }
  for (const auto& [backend, capabilities] : CapabilitiesOfAll()) {
    auto& values = *(*response.mutable_capabilities())[backend].mutable_values();
    for (const auto& [name, value] : capabilities) values[name] = value;
  }
  response.set_default_backend(context_.settings.default_backend);
  if (context_.machines.prepared())
    response.set_accelerator(context_.machines.prepared()->machine.accelerator);
  co_return response;
}

Awaitable<Result<void>> SystemService::WarmUp(rpc::CallContext&, v1::WarmUpRequest request,
                                              rpc::Writer<v1::WarmUpEvent>& out) {
  v1::CreateSandboxRequest create;
  create.set_backend(request.backend());
  *create.mutable_options() = std::move(*request.mutable_options());
  if (request.has_policy()) *create.mutable_policy() = std::move(*request.mutable_policy());
  CR_CO_TRY_ASSIGN(auto plan,
                   PlanLaunch(create, context_.settings, capabilities_, context_.clock()));
  const auto executor = co_await asio::this_coro::executor;
  auto heard = std::make_shared<Heard<WarmedUp>>(executor);
  auto work = context_.warm_up.Run(std::move(plan), HearProgress(heard));
  auto warmed = co_await Relay<v1::WarmUpEvent>(std::move(work), heard, out);
  if (!warmed) co_return Err(std::move(warmed).error());
  v1::WarmUpEvent event;
  *event.mutable_ready() = ToMessage(*warmed);
  auto written = co_await out.Write(event);
  co_return written;
}

Awaitable<Result<v1::DiskUsageResponse>> SystemService::DiskUsage(rpc::CallContext&,
                                                                  v1::DiskUsageRequest) {
  auto items = co_await context_.storage.List();
  if (!items) co_return Err(std::move(items).error());
  v1::DiskUsageResponse response;
  for (const StoredItem& item : *items) *response.add_items() = ToMessage(item);
  co_return response;
}

Awaitable<Result<v1::PruneResponse>> SystemService::Prune(rpc::CallContext&,
                                                          v1::PruneRequest request) {
  CR_CO_TRY_ASSIGN(const auto rules, RulesOf(request));
  if (request.dry_run()) {
    auto items = co_await context_.storage.Find(rules);
    if (!items) co_return Err(std::move(items).error());
    co_return ToMessage(*items);
  }
  auto pruned = co_await context_.storage.Prune(rules);
  if (!pruned) co_return Err(std::move(pruned).error());
  v1::PruneResponse response = ToMessage(pruned->items);
  for (std::string& failure : pruned->failures) response.add_failures(std::move(failure));
  co_return response;
}

}  // namespace cleanroom::server
