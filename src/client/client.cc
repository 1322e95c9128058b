#include "client/client.h"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <optional>
#include <utility>

#include "client/api.h"
#include "client/attachment.h"
#include "client/connect.h"
#include "client/environment.h"
#include "client/tracked.h"
#include "config/endpoint.h"
#include "rpc/relay.h"

namespace cleanroom::client {
namespace {

// Of standard input in one message.
constexpr size_t kInputChunk = 64U << 10;
// Of a file or an archive.
constexpr size_t kUploadChunk = 256U << 10;
// The daemon has shorter ones; these are for a daemon that hangs.
constexpr rpc::SendLimits kUploadLimits{.write = std::chrono::minutes(10),
                                        .answer = std::chrono::minutes(90)};

template <typename T>
Awaitable<void> Capture(Awaitable<T> task, std::optional<T>* out) {
  auto result = co_await std::move(task);
  out->emplace(std::move(result));
}

Awaitable<Result<bool>> CloseChannel(rpc::Channel& channel) {
  co_await channel.Close();
  co_return true;
}

// Hands every event to `sink` until it returns false.
template <typename Stream, typename SinkFunction>
Awaitable<Result<bool>> Drain(Stream& stream, const SinkFunction& sink) {
  for (;;) {
    auto event = co_await stream.Next();
    if (!event) co_return Err(std::move(event).error());
    if (!event->has_value()) co_return true;
    if (!sink(**event)) co_return true;
  }
}

template <typename Opening, typename SinkFunction>
Awaitable<Result<bool>> OpenAndDrain(Opening opening, const SinkFunction& sink) {
  auto stream = co_await std::move(opening);
  if (!stream) co_return Err(std::move(stream).error());
  auto drained = co_await Drain(*stream, sink);
  co_return drained;
}

Awaitable<Result<bool>> SendArchive(
    rpc::ClientStream<v1::ImportImageRequest, v1::ImageEvent>& stream, std::string ref,
    const ArchiveSource& source) {
  v1::ImportImageRequest message;
  message.set_ref(std::move(ref));
  auto sent = co_await stream.Write(message);
  while (sent) {
    auto data = source();
    if (!data) co_return Err(std::move(data).error());
    if (data->empty()) break;
    v1::ImportImageRequest chunk;
    chunk.set_data(std::move(*data));
    sent = co_await stream.Write(chunk);
  }
  // A failed write means that the call is over; the events say why.
  if (sent) sent = co_await stream.CloseWrite();
  co_return true;
}

template <typename SinkFunction>
Awaitable<Result<bool>> Import(Api& api, std::string ref, const ArchiveSource& source,
                               const SinkFunction& sink) {
  auto stream = co_await api.images.ImportImage();
  if (!stream) co_return Err(std::move(stream).error());
  auto sent = co_await SendArchive(*stream, std::move(ref), source);
  if (!sent) co_return Err(std::move(sent).error());
  auto drained = co_await Drain(*stream, sink);
  co_return drained;
}

// What a file or an archive is sent as: init, then the data in pieces that one message may have.
template <typename Request, typename Init>
struct Upload {
  const Init& init;
  const ArchiveSource& source;
  bool begun = false;
  std::string data{};

  Awaitable<Result<std::optional<Request>>> Next() {
    std::optional<Request> message(std::in_place);
    if (!std::exchange(begun, true)) {
      *message->mutable_init() = init;
      co_return message;
    }
    if (data.empty()) {
      CR_CO_TRY_ASSIGN(data, source());
      if (data.empty()) co_return std::optional<Request>();
    }
    message->set_data(data.substr(0, kUploadChunk));
    data.erase(0, kUploadChunk);
    co_return message;
  }
};

template <typename Request, typename Answer, typename Init>
Awaitable<Result<Answer>> UploadAll(Awaitable<Result<rpc::ClientStream<Request, Answer>>> opening,
                                    const Init& init, const ArchiveSource& source) {
  auto stream = co_await std::move(opening);
  if (!stream) co_return Err(std::move(stream).error());
  Upload<Request, Init> upload{init, source};
  const rpc::InputSource<Request> next = [&upload] { return upload.Next(); };
  auto answer = co_await rpc::SendAll(std::move(*stream), next, kUploadLimits);
  co_return answer;
}

Awaitable<void> SendInput(Attachment* attachment, std::string_view data) {
  while (!data.empty()) {
    auto sent = co_await attachment->WriteStdin(std::string(data.substr(0, kInputChunk)));
    if (!sent) co_return;
    data.remove_prefix(std::min(data.size(), kInputChunk));
  }
  auto closed = co_await attachment->CloseStdin();
  (void)closed;
}

Awaitable<Result<bool>> ReadOutput(Attachment& attachment, const ExecOptions& options,
                                   ExecResult& result) {
  for (;;) {
    auto event = co_await attachment.Next();
    if (!event) co_return Err(std::move(event).error());
    if (!event->has_value())
      co_return Err(ErrorCode::kUnavailable, "the daemon ended the output before the exit");
    const v1::ExecutionStreamEvent& message = **event;
    if (message.has_stdout() && options.on_stdout) options.on_stdout(message.stdout());
    if (message.has_stderr() && options.on_stderr) options.on_stderr(message.stderr());
    if (message.has_exit()) {
      result.exit_code = message.exit().exit_code();
      result.status = message.exit().status();
      result.message = message.exit().message();
      co_return true;
    }
  }
}

Awaitable<Result<ExecResult>> Exec(Api& api, v1::CreateExecutionRequest request,
                                   const ExecOptions& options) {
  const auto executor = co_await asio::this_coro::executor;
  const std::string sandbox_id = request.sandbox_id();
  auto created = co_await api.executions.CreateExecution(std::move(request));
  if (!created) co_return Err(std::move(created).error());
  ExecResult result;
  result.execution_id = created->execution().execution_id();
  auto attachment = co_await Attachment::Open(api.executions, sandbox_id, result.execution_id);
  if (!attachment) co_return Err(std::move(attachment).error());
  TaskScope input(executor);
  if (!options.stdin_data.empty()) input.Spawn(SendInput(attachment->get(), options.stdin_data));
  auto read = co_await ReadOutput(**attachment, options, result);
  input.Cancel();
  co_await input.Join();
  if (!read) co_return Err(std::move(read).error());
  co_return result;
}

}  // namespace

class Client::Impl {
 public:
  explicit Impl(ConnectOptions options)
      : options_(std::move(options)), io_(1), scope_(io_.get_executor()) {}
  ~Impl() { Disconnect(); }

  // Runs one call: `start` gets the Api and returns the coroutine.
  template <typename Start>
  auto Run(const Start& start) -> typename std::invoke_result_t<Start, Api&>::value_type {
    auto connected = EnsureConnected();
    if (!connected) return Err(std::move(connected).error());
    Api api(*channel_);
    return RunTask(start(api));
  }

 private:
  template <typename T>
  T RunTask(Awaitable<T> task) {
    std::optional<T> out;
    scope_.Spawn(Capture(std::move(task), &out));
    io_.restart();
    while (!out) io_.run_one();
    return std::move(*out);
  }

  Result<void> EnsureConnected() {
    io_.restart();
    io_.poll();  // learns of a connection that ended meanwhile
    if (channel_ != nullptr && channel_->alive()) return {};
    Disconnect();
    auto channel = RunTask(Connect(options_));
    if (!channel) return Err(std::move(channel).error());
    channel_ = std::move(*channel);
    return {};
  }

  void Disconnect() {
    if (channel_ != nullptr) {
      const auto closed = RunTask(CloseChannel(*channel_));
      (void)closed;
      channel_.reset();
    }
    // The captured tasks have answered; let them end.
    io_.restart();
    while (scope_.size() > 0) io_.run_one();
  }

  ConnectOptions options_;
  asio::io_context io_;
  TaskScope scope_;
  std::unique_ptr<rpc::Channel> channel_;
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

Result<Client> Client::FromEnvironment() {
  CR_TRY_ASSIGN(ConnectOptions options, OptionsFromEnvironment());
  return Create(std::move(options));
}

Result<Client> Client::Create(ConnectOptions options) {
  CR_TRY(config::Endpoint::Parse(options.url));
  return Client(std::make_unique<Impl>(std::move(options)));
}

Result<v1::Sandbox> Client::EnsureSandbox(std::string_view key,
                                          const EnsureSandboxOptions& options) {
  CR_TRY_ASSIGN(const std::string folder, TrackedSandboxesFolder());
  CR_TRY_ASSIGN(auto tracked, TrackedSandboxes::Open(folder));
  const std::string known = tracked.Find(key);
  if (!known.empty()) {
    v1::GetSandboxRequest request;
    request.set_sandbox_id(known);
    auto found = GetSandbox(request);
    if (!found && found.error().code() != ErrorCode::kNotFound)
      return Err(std::move(found).error());
    if (found && found->sandbox().status() == v1::SANDBOX_STATUS_READY) {
      const std::string& wanted = options.policy.hash();
      if (!wanted.empty() && found->sandbox().policy_hash() != wanted) {
        return Err(
            ErrorCode::kPolicyConflict,
            fmt::format(
                "sandbox {} under the key '{}' runs under policy {}, not {}; use another key, or "
                "terminate it first",
                known, key, found->sandbox().policy_hash(), wanted));
      }
      return std::move(*found->mutable_sandbox());
    }
  }
  v1::CreateSandboxRequest request;
  request.set_backend(options.backend);
  *request.mutable_options() = options.options;
  *request.mutable_policy() = options.policy;
  CR_TRY_ASSIGN(auto created, CreateSandbox(request));
  CR_TRY(tracked.Set(key, created.sandbox().sandbox_id()));
  return std::move(*created.mutable_sandbox());
}

Result<ExecResult> Client::ExecAndWait(std::string_view sandbox_id,
                                       const std::vector<std::string>& argv,
                                       const ExecOptions& options) {
  v1::CreateExecutionRequest request;
  request.set_sandbox_id(std::string(sandbox_id));
  for (const std::string& word : argv) request.add_command(word);
  request.set_kind(v1::EXECUTION_KIND_BATCH);
  v1::ExecutionOptions& execution = *request.mutable_options();
  for (const std::string& variable : options.env) execution.add_env(variable);
  execution.set_workdir(options.workdir);
  execution.set_user(options.user);
  execution.set_timeout_seconds(options.timeout.count());
  execution.set_stdin(!options.stdin_data.empty());
  return impl_->Run([&](Api& api) { return Exec(api, request, options); });
}

Result<v1::CreateSandboxResponse> Client::CreateSandbox(const v1::CreateSandboxRequest& request,
                                                        const ProgressSink& progress) {
  std::optional<v1::CreateSandboxResponse> created;
  const auto sink = [&](v1::CreateSandboxEvent& event) {
    if (event.has_progress() && progress) progress(event.progress());
    if (event.has_created()) created = std::move(*event.mutable_created());
    return true;
  };
  auto done = impl_->Run(
      [&](Api& api) { return OpenAndDrain(api.sandboxes.CreateSandboxStream(request), sink); });
  if (!done) return Err(std::move(done).error());
  if (!created) return Err(ErrorCode::kUnavailable, "the daemon stopped while it made the sandbox");
  return std::move(*created);
}

Result<v1::GetSandboxResponse> Client::GetSandbox(const v1::GetSandboxRequest& request) {
  return impl_->Run([&](Api& api) { return api.sandboxes.GetSandbox(request); });
}
Result<v1::ListSandboxesResponse> Client::ListSandboxes(const v1::ListSandboxesRequest& request) {
  return impl_->Run([&](Api& api) { return api.sandboxes.ListSandboxes(request); });
}
Result<v1::DownloadSandboxFileResponse> Client::DownloadSandboxFile(
    const v1::DownloadSandboxFileRequest& request) {
  return impl_->Run([&](Api& api) { return api.sandboxes.DownloadSandboxFile(request); });
}
Result<v1::StatSandboxPathResponse> Client::StatSandboxPath(
    const v1::StatSandboxPathRequest& request) {
  return impl_->Run([&](Api& api) { return api.sandboxes.StatSandboxPath(request); });
}
Result<void> Client::WalkSandboxTree(const v1::WalkSandboxTreeRequest& request,
                                     const std::function<bool(const v1::SandboxPathInfo&)>& sink) {
  const auto take = [&](const v1::WalkSandboxTreeResponse& found) { return sink(found.info()); };
  auto done = impl_->Run(
      [&](Api& api) { return OpenAndDrain(api.sandboxes.WalkSandboxTree(request), take); });
  if (!done) return Err(std::move(done).error());
  return {};
}
Result<void> Client::ReadSandboxFile(const v1::ReadSandboxFileRequest& request,
                                     const std::function<bool(std::string_view)>& sink) {
  const auto take = [&](const v1::ReadSandboxFileResponse& part) { return sink(part.data()); };
  auto done = impl_->Run(
      [&](Api& api) { return OpenAndDrain(api.sandboxes.ReadSandboxFile(request), take); });
  if (!done) return Err(std::move(done).error());
  return {};
}
Result<v1::WriteSandboxFileResponse> Client::WriteSandboxFile(const v1::WriteSandboxFileInit& init,
                                                              const ArchiveSource& source) {
  return impl_->Run(
      [&](Api& api) { return UploadAll(api.sandboxes.WriteSandboxFile(), init, source); });
}
Result<v1::UploadSandboxFileResponse> Client::UploadSandboxFile(
    const v1::UploadSandboxFileRequest& request) {
  return impl_->Run([&](Api& api) { return api.sandboxes.UploadSandboxFile(request); });
}
Result<v1::RemoveSandboxPathResponse> Client::RemoveSandboxPath(
    const v1::RemoveSandboxPathRequest& request) {
  return impl_->Run([&](Api& api) { return api.sandboxes.RemoveSandboxPath(request); });
}
Result<void> Client::ArchiveSandboxPaths(const v1::ArchiveSandboxPathsRequest& request,
                                         const std::function<bool(std::string_view)>& sink) {
  const auto take = [&](const v1::ArchiveSandboxPathsResponse& part) { return sink(part.data()); };
  auto done = impl_->Run(
      [&](Api& api) { return OpenAndDrain(api.sandboxes.ArchiveSandboxPaths(request), take); });
  if (!done) return Err(std::move(done).error());
  return {};
}
Result<v1::ExtractSandboxArchiveResponse> Client::ExtractSandboxArchive(
    const v1::ExtractSandboxArchiveInit& init, const ArchiveSource& source) {
  return impl_->Run(
      [&](Api& api) { return UploadAll(api.sandboxes.ExtractSandboxArchive(), init, source); });
}
Result<v1::TerminateSandboxResponse> Client::TerminateSandbox(
    const v1::TerminateSandboxRequest& request) {
  return impl_->Run([&](Api& api) { return api.sandboxes.TerminateSandbox(request); });
}
Result<void> Client::StreamSandboxEvents(const v1::StreamSandboxEventsRequest& request,
                                         const std::function<bool(const v1::SandboxEvent&)>& sink) {
  auto done = impl_->Run(
      [&](Api& api) { return OpenAndDrain(api.sandboxes.StreamSandboxEvents(request), sink); });
  if (!done) return Err(std::move(done).error());
  return {};
}

Result<void> Client::StreamSandboxNetwork(
    const v1::StreamSandboxNetworkRequest& request,
    const std::function<bool(const v1::NetworkDecision&)>& sink) {
  auto done = impl_->Run(
      [&](Api& api) { return OpenAndDrain(api.sandboxes.StreamSandboxNetwork(request), sink); });
  if (!done) return Err(std::move(done).error());
  return {};
}

Result<v1::CreateExecutionResponse> Client::CreateExecution(
    const v1::CreateExecutionRequest& request) {
  return impl_->Run([&](Api& api) { return api.executions.CreateExecution(request); });
}
Result<v1::GetExecutionResponse> Client::GetExecution(const v1::GetExecutionRequest& request) {
  return impl_->Run([&](Api& api) { return api.executions.GetExecution(request); });
}
Result<v1::ListExecutionsResponse> Client::ListExecutions(
    const v1::ListExecutionsRequest& request) {
  return impl_->Run([&](Api& api) { return api.executions.ListExecutions(request); });
}
Result<v1::GetExecutionResponse> Client::InspectExecution(const v1::GetExecutionRequest& request) {
  return impl_->Run([&](Api& api) { return api.executions.InspectExecution(request); });
}
Result<v1::CancelExecutionResponse> Client::CancelExecution(
    const v1::CancelExecutionRequest& request) {
  return impl_->Run([&](Api& api) { return api.executions.CancelExecution(request); });
}
Result<v1::WriteExecutionStdinResponse> Client::WriteExecutionStdin(
    const v1::WriteExecutionStdinRequest& request) {
  return impl_->Run([&](Api& api) { return api.executions.WriteExecutionStdin(request); });
}
Result<v1::CloseExecutionStdinResponse> Client::CloseExecutionStdin(
    const v1::CloseExecutionStdinRequest& request) {
  return impl_->Run([&](Api& api) { return api.executions.CloseExecutionStdin(request); });
}
Result<void> Client::StreamExecution(
    const v1::StreamExecutionRequest& request,
    const std::function<bool(const v1::ExecutionStreamEvent&)>& sink) {
  auto done = impl_->Run(
      [&](Api& api) { return OpenAndDrain(api.executions.StreamExecution(request), sink); });
  if (!done) return Err(std::move(done).error());
  return {};
}

namespace {

// A sink of image events that keeps the image.
auto ImageSink(std::optional<v1::Image>& image, const ProgressSink& progress) {
  return [&image, &progress](v1::ImageEvent& event) {
    if (event.has_progress() && progress) progress(event.progress());
    if (event.has_image()) image = std::move(*event.mutable_image());
    return true;
  };
}

Result<v1::Image> Received(Result<bool> done, std::optional<v1::Image> image) {
  if (!done) return Err(std::move(done).error());
  if (!image) return Err(ErrorCode::kUnavailable, "the daemon ended before it had the image");
  return std::move(*image);
}

}  // namespace

Result<v1::Image> Client::PullImage(const v1::PullImageRequest& request,
                                    const ProgressSink& progress) {
  std::optional<v1::Image> image;
  const auto sink = ImageSink(image, progress);
  auto done =
      impl_->Run([&](Api& api) { return OpenAndDrain(api.images.PullImage(request), sink); });
  return Received(std::move(done), std::move(image));
}
Result<v1::Image> Client::ImportImage(const std::string& ref, const ArchiveSource& source,
                                      const ProgressSink& progress) {
  std::optional<v1::Image> image;
  const auto sink = ImageSink(image, progress);
  auto done = impl_->Run([&](Api& api) { return Import(api, ref, source, sink); });
  return Received(std::move(done), std::move(image));
}
Result<v1::ListImagesResponse> Client::ListImages() {
  return impl_->Run([](Api& api) { return api.images.ListImages({}); });
}
Result<v1::RemoveImageResponse> Client::RemoveImage(const v1::RemoveImageRequest& request) {
  return impl_->Run([&](Api& api) { return api.images.RemoveImage(request); });
}
Result<v1::ResolveImageResponse> Client::ResolveImage(const v1::ResolveImageRequest& request) {
  return impl_->Run([&](Api& api) { return api.images.ResolveImage(request); });
}
Result<v1::GetVersionResponse> Client::GetVersion() {
  return impl_->Run([](Api& api) { return api.system.GetVersion({}); });
}
Result<v1::DoctorResponse> Client::Doctor() {
  return impl_->Run([](Api& api) { return api.system.Doctor({}); });
}
Result<v1::Template> Client::WarmUp(const v1::WarmUpRequest& request,
                                    const ProgressSink& progress) {
  std::optional<v1::Template> ready;
  const auto sink = [&](v1::WarmUpEvent& event) {
    if (event.has_progress() && progress) progress(event.progress());
    if (event.has_ready()) ready = std::move(*event.mutable_ready());
    return true;
  };
  auto done = impl_->Run([&](Api& api) { return OpenAndDrain(api.system.WarmUp(request), sink); });
  if (!done) return Err(std::move(done).error());
  if (!ready) return Err(ErrorCode::kUnavailable, "the daemon ended before the template was made");
  return std::move(*ready);
}
Result<v1::DiskUsageResponse> Client::DiskUsage() {
  return impl_->Run([](Api& api) { return api.system.DiskUsage({}); });
}
Result<v1::PruneResponse> Client::Prune(const v1::PruneRequest& request) {
  return impl_->Run([&](Api& api) { return api.system.Prune(request); });
}

}  // namespace cleanroom::client
