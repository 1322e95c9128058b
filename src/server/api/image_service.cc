#include "server/api/image_service.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <optional>

#include "http/byte_stream.h"
#include "server/api/progress_relay.h"
#include "server/convert.h"

namespace cleanroom::server {
namespace {

// `asked`: the name that the caller knows it by; without one, the first it got.
v1::Image ToMessage(const image::ImageRecord& record, const ImageRef* asked = nullptr) {
  v1::Image message;
  message.set_ref(asked != nullptr ? asked->Pinned(record.digest) : record.Pinned());
  message.set_digest(record.digest);
  message.set_size_bytes(static_cast<int64_t>(record.disk_bytes));
  message.mutable_created_at()->set_seconds(record.pulled_at);
  message.set_architecture(record.config.architecture);
  return message;
}

v1::ImageEvent ToEvent(const ProgressUpdate& progress) {
  v1::ImageEvent event;
  *event.mutable_progress() = ToMessage(progress);
  return event;
}

registry::PlainHttp Plain(bool only) {
  return only ? registry::PlainHttp::kOnly : registry::PlainHttp::kAuto;
}

// A caller who sends nothing for so long is given up: an import keeps a thread.
constexpr std::chrono::minutes kPieceLimit{2};

// Carries the archive from the call into the pipe. When either side ends first, so does the import.
Awaitable<void> Feed(rpc::Reader<v1::ImportImageRequest>& in, std::string first,
                     http::ByteStream& pipe, std::shared_ptr<ImageJob> job,
                     std::optional<Error>* why) {
  std::string data = std::move(first);
  for (;;) {
    if (!data.empty()) {
      auto written = co_await pipe.Write(std::as_bytes(std::span(data)));
      if (!written) break;  // the import has read enough, or has failed
    }
    auto message = co_await WithDeadline(in.Next(), std::chrono::steady_clock::now() + kPieceLimit,
                                         "nothing of the archive came for two minutes");
    if (!message) {
      *why = std::move(message).error();
      job->Stop();
      break;
    }
    if (!*message) break;
    data = std::move(*(*message)->mutable_data());
  }
  pipe.Close();
}

}  // namespace

Awaitable<Result<void>> ImageService::PullImage(rpc::CallContext&, v1::PullImageRequest request,
                                                rpc::Writer<v1::ImageEvent>& out) {
  CR_CO_TRY_ASSIGN(const ImageRef asked, ImageRef::Parse(request.ref()));
  auto heard = std::make_shared<Heard<ImageOutcome>>(executor_);
  auto pull = images_.Pull(request.ref(), HearProgress(heard), Plain(request.plain_http()));
  auto outcome = co_await Relay<v1::ImageEvent>(std::move(pull), heard, out);
  if (!outcome) co_return Err(std::move(outcome).error());
  v1::ImageEvent event;
  *event.mutable_image() = ToMessage(outcome->record, &asked);
  auto written = co_await out.Write(event);
  co_return written;
}

Awaitable<Result<void>> ImageService::ImportImage(rpc::CallContext&,
                                                  rpc::Reader<v1::ImportImageRequest>& in,
                                                  rpc::Writer<v1::ImageEvent>& out) {
  auto first = co_await in.Next();
  if (!first) co_return Err(std::move(first).error());
  if (!*first)
    co_return Err(ErrorCode::kInvalidArgument, "an import begins with the image's reference");
  CR_CO_TRY_ASSIGN(const ImageRef asked, ImageRef::Parse((*first)->ref(), kLocalRegistry));
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    co_return ErrErrno(ErrorCode::kResourceExhausted, "cannot make a pipe");
  os::UniqueFd read_end(ends[0]);
  auto pipe = http::AdoptDescriptor(executor_, ends[1]);
  const auto job = images_.StartImport(asked, std::move(read_end));

  TaskScope scope(executor_);
  std::optional<Error> broken;
  scope.Spawn(Feed(in, std::move(*(*first)->mutable_data()), *pipe, job, &broken));
  Result<void> told;
  ProgressUpdate last;
  while (!job->done()) {
    const ProgressUpdate& now = job->progress();
    if (told && !now.phase.empty() && (now.message != last.message || now.done != last.done)) {
      last = now;
      const v1::ImageEvent event = ToEvent(last);
      told = co_await out.Write(event);
      continue;
    }
    co_await job->changed().Wait();
    const bool cancelled = co_await Cancelled();
    if (!cancelled) continue;
    told = Err(ErrorCode::kCanceled, "the import is no longer wanted");
    break;
  }
  if (!job->done()) job->Stop();
  scope.Cancel();
  co_await scope.Join();
  pipe->Close();
  if (!told) co_return told;
  if (!*job->outcome()) co_return Err(broken ? *broken : job->outcome()->error());
  v1::ImageEvent event;
  *event.mutable_image() = ToMessage((*job->outcome())->record, &asked);
  auto written = co_await out.Write(event);
  co_return written;
}

Awaitable<Result<v1::ListImagesResponse>> ImageService::ListImages(rpc::CallContext&,
                                                                   v1::ListImagesRequest) {
  auto records = co_await images_.List();
  if (!records) co_return Err(std::move(records).error());
  v1::ListImagesResponse response;
  for (const image::ImageRecord& record : *records) *response.add_images() = ToMessage(record);
  co_return response;
}

Awaitable<Result<v1::RemoveImageResponse>> ImageService::RemoveImage(
    rpc::CallContext&, v1::RemoveImageRequest request) {
  auto removed = co_await storage_.RemoveImage(request.ref());
  if (!removed) co_return Err(std::move(removed).error());
  v1::RemoveImageResponse response;
  response.set_digest(removed->digest);
  response.set_freed_bytes(static_cast<int64_t>(removed->disk_bytes));
  co_return response;
}

Awaitable<Result<v1::ResolveImageResponse>> ImageService::ResolveImage(
    rpc::CallContext&, v1::ResolveImageRequest request) {
  auto ref = co_await images_.Resolve(request.ref(), Plain(request.plain_http()));
  if (!ref) co_return Err(std::move(ref).error());
  v1::ResolveImageResponse response;
  response.set_ref(*ref);
  co_return response;
}

}  // namespace cleanroom::server
