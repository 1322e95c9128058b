#include "server/api/sandbox_service.h"

#include <fmt/format.h>

#include "server/api/progress_relay.h"
#include "server/launch/checkout_plan.h"
#include "server/launch/launch_request.h"

namespace cleanroom::server {
namespace {

v1::CreateSandboxEvent ToEvent(const SandboxId& id, const ProgressUpdate& progress) {
  v1::CreateSandboxEvent event;
  event.set_sandbox_id(id.text());
  *event.mutable_progress() = ToMessage(progress);
  return event;
}

bool Same(const ProgressUpdate& a, const ProgressUpdate& b) {
  return a.phase == b.phase && a.message == b.message && a.done == b.done && a.total == b.total;
}

Error CallerGone() {
  return {ErrorCode::kCanceled, "the caller went away while the sandbox was being created"};
}

}  // namespace

SandboxService::SandboxService(Sandboxes& sandboxes, NetworkRecords& network, Checkouts& checkouts,
                               const Settings& settings, WallClock clock,
                               std::set<std::string> capabilities)
    : sandboxes_(sandboxes),
      files_(sandboxes),
      network_(network),
      checkouts_(checkouts),
      settings_(settings),
      clock_(std::move(clock)),
      capabilities_(std::move(capabilities)) {}

Awaitable<Result<SandboxService::Begun>> SandboxService::Begin(v1::CreateSandboxRequest request,
                                                               ProgressFn progress) {
  const auto since = std::chrono::steady_clock::now();
  auto planned = co_await PlanCheckout(request, checkouts_, std::move(progress));
  if (!planned) co_return Err(std::move(planned).error());
  CR_CO_TRY_ASSIGN(auto plan, PlanLaunch(request, settings_, capabilities_, clock_()));
  if (planned->checkout) plan.record.phases.push_back(PhaseSince("commit", since));
  std::string source = std::move(planned->policy_source);
  AddCheckout(*std::move(planned), plan);
  CR_CO_TRY_ASSIGN(auto sandbox, sandboxes_.Create(std::move(plan)));
  co_return Begun{.sandbox = std::move(sandbox), .policy_source = std::move(source)};
}

Awaitable<Result<v1::CreateSandboxResponse>> SandboxService::CreateSandbox(
    rpc::CallContext&, v1::CreateSandboxRequest request) {
  auto begun = co_await Begin(std::move(request), nullptr);
  if (!begun) co_return Err(std::move(begun).error());
  auto created = co_await Await(*std::move(begun), nullptr);
  co_return created;
}

Awaitable<Result<void>> SandboxService::CreateSandboxStream(
    rpc::CallContext&, v1::CreateSandboxRequest request, rpc::Writer<v1::CreateSandboxEvent>& out) {
  const auto executor = co_await asio::this_coro::executor;
  auto heard = std::make_shared<Heard<Begun>>(executor);
  auto beginning = Begin(std::move(request), HearProgress(heard));
  auto begun = co_await Relay(std::move(beginning), heard, out);
  // It may have begun in the moment that the caller went away.
  if (!begun && heard->outcome && *heard->outcome) {
    (*heard->outcome)->sandbox->RequestStop(CallerGone());
  }
  if (!begun) co_return Err(std::move(begun).error());
  const auto sandbox = begun->sandbox;
  v1::CreateSandboxEvent event;
  event.set_sandbox_id(sandbox->id().text());
  auto told = co_await out.Write(event);
  if (!told) {
    sandbox->RequestStop(CallerGone());
    co_return told;
  }
  auto created = co_await Await(*std::move(begun), &out);
  if (!created) co_return Err(std::move(created).error());
  for (const std::string& warning : sandbox->warnings()) {
    v1::CreateSandboxEvent warned;
    warned.set_sandbox_id(sandbox->id().text());
    warned.set_warning(warning);
    told = co_await out.Write(warned);
  }
  *event.mutable_created() = std::move(*created);
  auto written = co_await out.Write(event);
  // Whoever was not told the id cannot use the sandbox.
  if (!written) sandbox->RequestStop(CallerGone());
  co_return written;
}

// Only the newest progress is kept, so a caller that reads slowly misses steps and holds nothing
// up.
Awaitable<Result<v1::CreateSandboxResponse>> SandboxService::Await(
    Begun begun, rpc::Writer<v1::CreateSandboxEvent>* out) {
  const auto sandbox = begun.sandbox;
  ProgressUpdate told;
  bool gone = false;
  while (!gone && (store::IsBeingMade(sandbox->record().status) ||
                   (!sandbox->ready() && !sandbox->ended()))) {
    if (out != nullptr && !Same(told, sandbox->progress())) {
      told = sandbox->progress();
      const v1::CreateSandboxEvent event = ToEvent(sandbox->id(), told);
      auto written = co_await out->Write(event);
      gone = !written.has_value();
    } else {
      co_await sandbox->changed().Wait();
      gone = co_await Cancelled();
    }
  }
  // A caller who leaves in the very moment that it became ready is to be noticed, too: there is
  // nobody to tell the id. A cancellation takes a turn of the loop to arrive.
  if (!gone) {
    co_await asio::post(asio::use_awaitable);
    gone = co_await Cancelled();
  }
  if (gone) {
    sandbox->RequestStop(CallerGone());
    co_return Err(ErrorCode::kCanceled, "cancelled while the sandbox was being created");
  }
  if (!sandbox->ready()) {
    const Error& why = *sandbox->why_ending();  // what is neither ready nor made has ended
    const std::string& tail = sandbox->record().console_tail;
    if (tail.empty()) co_return Err(why);
    co_return Err(
        Error(why.code(), fmt::format("{}\nlast lines of the console:\n{}", why.message(), tail))
            .About(why.subject().kind, why.subject().name)
            .Remedy(why.remedy()));
  }
  CR_CO_TRY_ASSIGN(const auto record, sandboxes_.Get(sandbox->id()));
  v1::CreateSandboxResponse response;
  *response.mutable_sandbox() = ToMessage(record);
  response.set_policy_source(begun.policy_source);
  response.set_message("ready");
  co_return response;
}

Awaitable<Result<v1::GetSandboxResponse>> SandboxService::GetSandbox(
    rpc::CallContext&, v1::GetSandboxRequest request) {
  CR_CO_TRY_ASSIGN(const auto record, sandboxes_.Get(SandboxId(request.sandbox_id())));
  v1::GetSandboxResponse response;
  *response.mutable_sandbox() = ToMessage(record);
  co_return response;
}

Awaitable<Result<v1::ListSandboxesResponse>> SandboxService::ListSandboxes(
    rpc::CallContext&, v1::ListSandboxesRequest request) {
  using Which = store::RecordStore::Which;
  CR_CO_TRY_ASSIGN(const auto records, sandboxes_.List(request.all() ? Which::kAll : Which::kLive));
  v1::ListSandboxesResponse response;
  for (const store::SandboxRecord& record : records) *response.add_sandboxes() = ToMessage(record);
  co_return response;
}

Awaitable<Result<v1::TerminateSandboxResponse>> SandboxService::TerminateSandbox(
    rpc::CallContext&, v1::TerminateSandboxRequest request) {
  auto record = co_await sandboxes_.Terminate(SandboxId(request.sandbox_id()),
                                              Error(ErrorCode::kCanceled, "terminated on request"));
  if (!record) co_return Err(std::move(record).error());
  v1::TerminateSandboxResponse response;
  response.set_sandbox_id(record->id.text());
  response.set_terminated(store::IsFinal(record->status));
  response.set_message(record->reason.ToString());
  co_return response;
}

Awaitable<Result<void>> SandboxService::StreamSandboxEvents(rpc::CallContext&,
                                                            v1::StreamSandboxEventsRequest request,
                                                            rpc::Writer<v1::SandboxEvent>& out) {
  return sandboxes_.StreamEvents(SandboxId(request.sandbox_id()), request.follow(), out);
}

Awaitable<Result<void>> SandboxService::StreamSandboxNetwork(
    rpc::CallContext&, v1::StreamSandboxNetworkRequest request,
    rpc::Writer<v1::NetworkDecision>& out) {
  return network_.Stream(SandboxId(request.sandbox_id()), request.follow(), out);
}

Awaitable<Result<v1::DownloadSandboxFileResponse>> SandboxService::DownloadSandboxFile(
    rpc::CallContext&, v1::DownloadSandboxFileRequest request) {
  return files_.Download(std::move(request));
}

Awaitable<Result<v1::StatSandboxPathResponse>> SandboxService::StatSandboxPath(
    rpc::CallContext&, v1::StatSandboxPathRequest request) {
  return files_.Stat(std::move(request));
}

Awaitable<Result<void>> SandboxService::WalkSandboxTree(
    rpc::CallContext&, v1::WalkSandboxTreeRequest request,
    rpc::Writer<v1::WalkSandboxTreeResponse>& out) {
  return files_.Walk(std::move(request), out);
}

Awaitable<Result<void>> SandboxService::ReadSandboxFile(
    rpc::CallContext&, v1::ReadSandboxFileRequest request,
    rpc::Writer<v1::ReadSandboxFileResponse>& out) {
  return files_.Read(std::move(request), out);
}

Awaitable<Result<v1::WriteSandboxFileResponse>> SandboxService::WriteSandboxFile(
    rpc::CallContext&, rpc::Reader<v1::WriteSandboxFileRequest>& in) {
  return files_.Write(in);
}

Awaitable<Result<v1::UploadSandboxFileResponse>> SandboxService::UploadSandboxFile(
    rpc::CallContext&, v1::UploadSandboxFileRequest request) {
  return files_.Upload(std::move(request));
}

Awaitable<Result<v1::RemoveSandboxPathResponse>> SandboxService::RemoveSandboxPath(
    rpc::CallContext&, v1::RemoveSandboxPathRequest request) {
  return files_.Remove(std::move(request));
}

Awaitable<Result<void>> SandboxService::ArchiveSandboxPaths(
    rpc::CallContext&, v1::ArchiveSandboxPathsRequest request,
    rpc::Writer<v1::ArchiveSandboxPathsResponse>& out) {
  return files_.Archive(std::move(request), out);
}

Awaitable<Result<v1::ExtractSandboxArchiveResponse>> SandboxService::ExtractSandboxArchive(
    rpc::CallContext&, rpc::Reader<v1::ExtractSandboxArchiveRequest>& in) {
  return files_.Extract(in);
}

}  // namespace cleanroom::server
