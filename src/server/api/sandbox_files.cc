#include "server/api/sandbox_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/utf8.h"
#include "cleanroom/internal/v1/warden.rpc.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "rpc/relay.h"
#include "server/api/file_paths.h"

namespace cleanroom::server {
namespace {

using std::chrono::steady_clock;

// Of DownloadSandboxFile, whose answer is one message.
constexpr int64_t kDefaultDownload = 10 << 20;
constexpr int64_t kMaxDownload = 64 << 20;
// Of streams.
constexpr int64_t kDefaultStream = int64_t{4} << 30;
constexpr int64_t kMaxStream = int64_t{1} << 40;
constexpr mode_t kDefaultMode = 0644;
constexpr size_t kUploadPiece = 256 << 10;
// A busy call says so this often: it is written to the disk.
constexpr std::chrono::seconds kTouchEvery{15};
// The warden has its own, shorter ones for the guest; these are for a warden that hangs.
constexpr rpc::SendLimits kSendLimits{.write = std::chrono::minutes(5),
                                      .answer = std::chrono::minutes(60)};

// A call under way: it keeps the sandbox from being idle.
class Call {
 public:
  explicit Call(std::shared_ptr<LiveSandbox> sandbox)
      : sandbox_(std::move(sandbox)), channel_(sandbox_->channel()) {
    sandbox_->Touch();
  }
  pb::WardenStub warden() const { return pb::WardenStub(*channel_); }
  const SandboxId& id() const { return sandbox_->id(); }
  // Who does not answer is the sandbox; the rest is about the file.
  std::unexpected<Error> Failed(Error error, const std::string& path) const {
    if (error.code() == ErrorCode::kUnavailable || error.code() == ErrorCode::kInternal) {
      return Err(std::move(error).About(SubjectKind::kSandbox, id().text()));
    }
    return Err(std::move(error).About(SubjectKind::kFile, ToValidUtf8(path)));
  }
  void GoesOn() {
    if (steady_clock::now() - touched_ < kTouchEvery) return;
    touched_ = steady_clock::now();
    sandbox_->Touch();
  }

 private:
  std::shared_ptr<LiveSandbox> sandbox_;
  decltype(std::declval<LiveSandbox>().channel()) channel_;
  steady_clock::time_point touched_ = steady_clock::now();
};

Result<int64_t> LimitOf(int64_t wanted, int64_t standard, int64_t most) {
  if (wanted == 0) return standard;
  if (wanted > 0 && wanted <= most) return wanted;
  return Err(ErrorCode::kInvalidArgument,
             fmt::format("max_bytes must be between 0 (which is {} MiB) and {} MiB", standard >> 20,
                         most >> 20));
}

Result<uint32_t> ModeOf(uint32_t mode) {
  if (mode == 0) return kDefaultMode;
  if (mode <= 07777) return mode;
  return Err(ErrorCode::kInvalidArgument,
             fmt::format("mode {:o} has more than the twelve bits of permissions", mode));
}

// The data of one message of a client's stream.
template <typename Request>
Result<std::string> TakeData(Request& message) {
  if (!message.has_data()) {
    return Err(ErrorCode::kInvalidArgument, "init comes first, and once; after it comes data");
  }
  if (message.data().size() > kMaxFileData) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("data of {} bytes in one message, more than {}", message.data().size(),
                           kMaxFileData));
  }
  return std::move(*message.mutable_data());
}

template <typename Request>
Awaitable<Result<typename std::decay_t<decltype(std::declval<Request>().init())>>> TakeInit(
    rpc::Reader<Request>& in) {
  auto first = co_await in.Next();
  if (!first) co_return Err(std::move(first).error());
  if (!*first || !(*first)->has_init()) {
    co_return Err(ErrorCode::kInvalidArgument, "the first message must be init");
  }
  co_return (*first)->init();
}

// What goes to the warden: the opening, then the caller's data.
template <typename Request, typename Input>
struct Forward {
  rpc::Reader<Request>& in;
  Call& call;
  std::optional<Input> opening;

  Awaitable<Result<std::optional<Input>>> Next() {
    if (opening) co_return std::exchange(opening, {});
    auto message = co_await in.Next();
    if (!message) co_return Err(std::move(message).error());
    if (!*message) co_return std::optional<Input>();
    call.GoesOn();
    std::optional<Input> input(std::in_place);
    CR_CO_TRY_ASSIGN(*input->mutable_data(), TakeData(**message));
    co_return input;
  }
};

// Data of the guest's, `left` bytes at most.
template <typename Stream, typename Answer>
Awaitable<Result<void>> PassOn(Stream& stream, Call& call, std::string path, int64_t left,
                               rpc::Writer<Answer>& out) {
  for (;;) {
    auto chunk = co_await stream.Next();
    if (!chunk) co_return call.Failed(std::move(chunk).error(), path);
    if (!*chunk) co_return Result<void>();
    call.GoesOn();
    // What the guest says of sizes is not trusted: what came is counted.
    left -= static_cast<int64_t>((*chunk)->data().size());
    if (left < 0) {
      const Error more(ErrorCode::kResourceExhausted, "the guest sent more than max_bytes");
      co_return call.Failed(more, path);
    }
    if ((*chunk)->data().empty()) continue;
    Answer message;
    message.set_data(std::move(*(*chunk)->mutable_data()));
    auto written = co_await out.Write(message);
    if (!written) co_return written;
  }
}

// What goes to the warden of a file that has come whole.
struct Pieces {
  pb::WriteFileInit init;
  std::string_view data;
  bool begun = false;

  Awaitable<Result<std::optional<pb::WriteFileInput>>> Next() {
    if (begun && data.empty()) co_return std::optional<pb::WriteFileInput>();
    std::optional<pb::WriteFileInput> input(std::in_place);
    if (!std::exchange(begun, true)) {
      *input->mutable_init() = init;
      co_return input;
    }
    const size_t size = std::min(data.size(), kUploadPiece);
    input->set_data(std::string(data.substr(0, size)));
    data.remove_prefix(size);
    co_return input;
  }
};

}  // namespace

Awaitable<Result<v1::DownloadSandboxFileResponse>> SandboxFiles::Download(
    v1::DownloadSandboxFileRequest request) {
  CR_CO_TRY_ASSIGN(auto sandbox, sandboxes_.FindReady(SandboxId(request.sandbox_id())));
  CR_CO_TRY_ASSIGN(const std::string path, AbsolutePath(request.path(), ""));
  CR_CO_TRY_ASSIGN(const int64_t limit,
                   LimitOf(request.max_bytes(), kDefaultDownload, kMaxDownload));
  const Call call(std::move(sandbox));
  pb::ReadFileRequest read;
  read.set_path(path);
  read.set_max_bytes(limit);
  auto chunks = co_await call.warden().ReadFile(std::move(read));
  if (!chunks) co_return call.Failed(std::move(chunks).error(), path);
  v1::DownloadSandboxFileResponse response;
  response.set_sandbox_id(call.id().text());
  response.set_path(path);
  for (;;) {
    auto chunk = co_await chunks->Next();
    if (!chunk) co_return call.Failed(std::move(chunk).error(), path);
    if (!*chunk) break;
    response.mutable_data()->append((*chunk)->data());
    // What the guest says of sizes is not trusted: what came is counted.
    if (static_cast<int64_t>(response.data().size()) > limit) {
      co_return Err(ErrorCode::kResourceExhausted,
                    fmt::format("{} has more than {} bytes", path, limit));
    }
  }
  response.set_size_bytes(static_cast<int64_t>(response.data().size()));
  co_return response;
}

Awaitable<Result<v1::StatSandboxPathResponse>> SandboxFiles::Stat(
    v1::StatSandboxPathRequest request) {
  CR_CO_TRY_ASSIGN(auto sandbox, sandboxes_.FindReady(SandboxId(request.sandbox_id())));
  pb::StatPathRequest stat;
  CR_CO_TRY_ASSIGN(*stat.mutable_path(), AbsolutePath(request.path(), request.raw_path()));
  stat.set_follow(request.follow());
  const std::string path = stat.path();
  const Call call(std::move(sandbox));
  auto info = co_await call.warden().StatPath(std::move(stat));
  if (!info) co_return call.Failed(std::move(info).error(), path);
  v1::StatSandboxPathResponse response;
  *response.mutable_info() = ToPublic(*info);
  co_return response;
}

Awaitable<Result<void>> SandboxFiles::Walk(v1::WalkSandboxTreeRequest request,
                                           rpc::Writer<v1::WalkSandboxTreeResponse>& out) {
  CR_CO_TRY_ASSIGN(auto sandbox, sandboxes_.FindReady(SandboxId(request.sandbox_id())));
  pb::WalkTreeRequest walk;
  CR_CO_TRY_ASSIGN(*walk.mutable_path(), AbsolutePath(request.path(), request.raw_path()));
  walk.set_changes(request.changes());
  const std::string path = walk.path();
  Call call(std::move(sandbox));
  auto stream = co_await call.warden().WalkTree(std::move(walk));
  if (!stream) co_return call.Failed(std::move(stream).error(), path);
  for (;;) {
    auto infos = co_await stream->Next();
    if (!infos) co_return call.Failed(std::move(infos).error(), path);
    if (!*infos) co_return Result<void>();
    call.GoesOn();
    for (const pb::PathInfo& info : (*infos)->infos()) {
      v1::WalkSandboxTreeResponse message;
      *message.mutable_info() = ToPublic(info);
      auto written = co_await out.Write(message);
      if (!written) co_return written;
    }
  }
}

Awaitable<Result<void>> SandboxFiles::Read(v1::ReadSandboxFileRequest request,
                                           rpc::Writer<v1::ReadSandboxFileResponse>& out) {
  CR_CO_TRY_ASSIGN(auto sandbox, sandboxes_.FindReady(SandboxId(request.sandbox_id())));
  pb::ReadFileRequest read;
  CR_CO_TRY_ASSIGN(*read.mutable_path(), AbsolutePath(request.path(), request.raw_path()));
  CR_CO_TRY_ASSIGN(int64_t left, LimitOf(request.max_bytes(), kDefaultStream, kMaxStream));
  read.set_max_bytes(left);
  const std::string path = read.path();
  Call call(std::move(sandbox));
  auto stream = co_await call.warden().ReadFile(std::move(read));
  if (!stream) co_return call.Failed(std::move(stream).error(), path);
  auto sent = co_await PassOn(*stream, call, path, left, out);
  co_return sent;
}

Awaitable<Result<void>> SandboxFiles::Archive(v1::ArchiveSandboxPathsRequest request,
                                              rpc::Writer<v1::ArchiveSandboxPathsResponse>& out) {
  CR_CO_TRY_ASSIGN(auto sandbox, sandboxes_.FindReady(SandboxId(request.sandbox_id())));
  CR_CO_TRY_ASSIGN(pb::ArchivePathsRequest archive, ToArchive(request));
  CR_CO_TRY_ASSIGN(int64_t left, LimitOf(request.max_bytes(), kDefaultStream, kMaxStream));
  archive.set_max_bytes(left);
  const std::string base = archive.base();
  Call call(std::move(sandbox));
  auto stream = co_await call.warden().ArchivePaths(std::move(archive));
  if (!stream) co_return call.Failed(std::move(stream).error(), base);
  auto sent = co_await PassOn(*stream, call, base, left, out);
  co_return sent;
}

Awaitable<Result<v1::WriteSandboxFileResponse>> SandboxFiles::Write(
    rpc::Reader<v1::WriteSandboxFileRequest>& in) {
  auto init = co_await TakeInit(in);
  if (!init) co_return Err(std::move(init).error());
  CR_CO_TRY_ASSIGN(auto sandbox, sandboxes_.FindReady(SandboxId(init->sandbox_id())));
  pb::WriteFileInput opening;
  pb::WriteFileInit& file = *opening.mutable_init();
  CR_CO_TRY_ASSIGN(*file.mutable_path(), AbsolutePath(init->path(), init->raw_path()));
  CR_CO_TRY_ASSIGN(const uint32_t mode, ModeOf(init->mode()));
  file.set_mode(mode);
  if (init->has_mtime()) {
    CR_CO_TRY_ASSIGN(*file.mutable_mtime(), FromPublic(init->mtime()));
  }
  const std::string path = file.path();
  Call call(std::move(sandbox));
  auto stream = co_await call.warden().WriteFile();
  if (!stream) co_return call.Failed(std::move(stream).error(), path);
  Forward<v1::WriteSandboxFileRequest, pb::WriteFileInput> source{in, call, std::move(opening)};
  const rpc::InputSource<pb::WriteFileInput> next = [&source] { return source.Next(); };
  auto result = co_await rpc::SendAll(std::move(*stream), next, kSendLimits);
  if (!result) co_return call.Failed(std::move(result).error(), path);
  v1::WriteSandboxFileResponse response;
  response.set_sandbox_id(call.id().text());
  response.set_path(init->path());
  response.set_size_bytes(result->size());
  co_return response;
}

Awaitable<Result<v1::UploadSandboxFileResponse>> SandboxFiles::Upload(
    v1::UploadSandboxFileRequest request) {
  CR_CO_TRY_ASSIGN(auto sandbox, sandboxes_.FindReady(SandboxId(request.sandbox_id())));
  if (request.data().size() > kMaxUpload) {
    co_return Err(Error(ErrorCode::kResourceExhausted,
                        fmt::format("a file of {} bytes in one message, more than {} MiB",
                                    request.data().size(), kMaxUpload >> 20))
                      .Remedy("Send it by WriteSandboxFile, or with: cleanroom cp"));
  }
  Pieces source{.init = {}, .data = request.data()};
  CR_CO_TRY_ASSIGN(*source.init.mutable_path(), AbsolutePath(request.path(), request.raw_path()));
  CR_CO_TRY_ASSIGN(const uint32_t mode, ModeOf(request.mode()));
  source.init.set_mode(mode);
  const std::string path = source.init.path();
  const Call call(std::move(sandbox));
  auto stream = co_await call.warden().WriteFile();
  if (!stream) co_return call.Failed(std::move(stream).error(), path);
  const rpc::InputSource<pb::WriteFileInput> next = [&source] { return source.Next(); };
  auto result = co_await rpc::SendAll(std::move(*stream), next, kSendLimits);
  if (!result) co_return call.Failed(std::move(result).error(), path);
  v1::UploadSandboxFileResponse response;
  response.set_sandbox_id(call.id().text());
  response.set_path(request.path());
  response.set_size_bytes(result->size());
  co_return response;
}

Awaitable<Result<v1::RemoveSandboxPathResponse>> SandboxFiles::Remove(
    v1::RemoveSandboxPathRequest request) {
  CR_CO_TRY_ASSIGN(auto sandbox, sandboxes_.FindReady(SandboxId(request.sandbox_id())));
  pb::RemovePathRequest remove;
  CR_CO_TRY_ASSIGN(*remove.mutable_path(), AbsolutePath(request.path(), request.raw_path()));
  remove.set_recursive(request.recursive());
  const std::string path = remove.path();
  const Call call(std::move(sandbox));
  auto result = co_await call.warden().RemovePath(std::move(remove));
  if (!result) co_return call.Failed(std::move(result).error(), path);
  v1::RemoveSandboxPathResponse response;
  response.set_sandbox_id(call.id().text());
  response.set_path(request.path());
  response.set_removed(result->removed());
  co_return response;
}

Awaitable<Result<v1::ExtractSandboxArchiveResponse>> SandboxFiles::Extract(
    rpc::Reader<v1::ExtractSandboxArchiveRequest>& in) {
  auto init = co_await TakeInit(in);
  if (!init) co_return Err(std::move(init).error());
  CR_CO_TRY_ASSIGN(auto sandbox, sandboxes_.FindReady(SandboxId(init->sandbox_id())));
  pb::ExtractArchiveInput opening;
  CR_CO_TRY_ASSIGN(*opening.mutable_init()->mutable_destination(),
                   AbsolutePath(init->destination(), init->raw_destination()));
  const std::string path = opening.init().destination();
  Call call(std::move(sandbox));
  auto stream = co_await call.warden().ExtractArchive();
  if (!stream) co_return call.Failed(std::move(stream).error(), path);
  Forward<v1::ExtractSandboxArchiveRequest, pb::ExtractArchiveInput> source{in, call,
                                                                            std::move(opening)};
  const rpc::InputSource<pb::ExtractArchiveInput> next = [&source] { return source.Next(); };
  auto result = co_await rpc::SendAll(std::move(*stream), next, kSendLimits);
  if (!result) co_return call.Failed(std::move(result).error(), path);
  v1::ExtractSandboxArchiveResponse response;
  response.set_sandbox_id(call.id().text());
  response.set_destination(init->destination());
  response.set_size_bytes(result->size());
  response.set_entries(result->entries());
  co_return response;
}

}  // namespace cleanroom::server
