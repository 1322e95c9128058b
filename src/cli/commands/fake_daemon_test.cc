#include "cli/testing/fake_daemon.h"

#include <chrono>
#include <utility>

namespace cleanroom::cli {
namespace {

v1::ExecutionStreamEvent Exit(int code, v1::ExecutionStatus status) {
  v1::ExecutionStreamEvent event;
  event.mutable_exit()->set_exit_code(code);
  event.mutable_exit()->set_status(status);
  return event;
}

v1::NetworkDecision Refused(const std::string& host, int port) {
  v1::NetworkDecision decision;
  decision.mutable_time()->set_seconds(1'800'000'000);
  decision.set_service("tcp");
  decision.set_protocol("tcp");
  decision.set_destination(host);
  decision.set_port(port);
  decision.set_reason_code("host_not_allowed");
  decision.set_message(host + " is not allowed");
  decision.set_suggestion("- " + host + ":" + std::to_string(port));
  decision.mutable_rule()->set_host(host);
  decision.mutable_rule()->add_ports(port);
  decision.mutable_rule()->set_protocol("tcp");
  decision.set_count(1);
  return decision;
}

v1::StoredItem Item(const char* kind, const char* name, int64_t bytes, bool in_use,
                    bool reclaimable) {
  v1::StoredItem item;
  item.set_kind(kind);
  item.set_name(name);
  item.set_size_bytes(bytes);
  item.mutable_last_used_at()->set_seconds(1'700'000'000);
  item.set_in_use(in_use);
  item.set_reclaimable(reclaimable);
  return item;
}

}  // namespace

FakeDaemon::FakeDaemon()
    : folder_(std::move(*os::TempDir::Create())),
      scope_(io_.get_executor()),
      acceptor_(io_),
      cancelled_(io_.get_executor()),
      server_(router_, {}, nullptr) {
  v1::SandboxService::Register(router_);
  v1::ExecutionService::Register(router_);
  v1::ImageService::Register(router_);
  v1::SystemService::Register(router_);
  auto listener = os::ListenUnix(folder_.path() + "/daemon.sock");
  acceptor_.assign(asio::local::stream_protocol(), listener->release());
  scope_.Spawn(Accept());
  thread_ = std::thread([this] { io_.run(); });
}

FakeDaemon::~FakeDaemon() {
  asio::post(io_, [this] { scope_.Cancel(); });
  thread_.join();
}

void FakeDaemon::Note(const std::string& text) {
  const std::lock_guard lock(mutex_);
  notes_.push_back(text);
  changed_.notify_all();
}

bool FakeDaemon::WaitFor(const std::string& prefix) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(10), [&] {
    for (const std::string& note : notes_) {
      if (note.starts_with(prefix)) return true;
    }
    return false;
  });
}

bool FakeDaemon::Noted(const std::string& prefix) {
  const std::lock_guard lock(mutex_);
  for (const std::string& note : notes_) {
    if (note.starts_with(prefix)) return true;
  }
  return false;
}

std::string FakeDaemon::All() {
  const std::lock_guard lock(mutex_);
  std::string all;
  for (const std::string& note : notes_) all += note + "\n";
  return all;
}

Awaitable<void> FakeDaemon::Accept() {
  for (;;) {
    auto [error, socket] = co_await acceptor_.async_accept(kAwait);
    if (error) co_return;
    scope_.Spawn(server_.Serve(http::AdoptSocket(io_.get_executor(), socket.release())));
  }
}

Awaitable<Result<void>> FakeDaemon::CreateSandboxStream(rpc::CallContext&,
                                                        v1::CreateSandboxRequest request,
                                                        rpc::Writer<v1::CreateSandboxEvent>& out) {
  Note("create " + request.policy().image_ref());
  Note("network default " + request.policy().network_default());
  v1::CreateSandboxEvent progress;
  progress.set_sandbox_id(kSandbox);
  progress.mutable_progress()->set_phase("boot");
  CR_CO_TRY(co_await out.Write(progress));
  if (request.backend() == "never") {
    // More than the connection holds: once it is all written, the beginning has been read.
    progress.mutable_progress()->set_message(std::string(300'000, 'x'));
    for (int i = 0; i < 5; ++i) CR_CO_TRY(co_await out.Write(progress));
    Note("told");
    co_await cancelled_.Wait();
    Note("create cancelled");
    co_return Err(ErrorCode::kCanceled, "cancelled");
  }
  v1::CreateSandboxEvent created;
  created.mutable_created()->mutable_sandbox()->set_sandbox_id(kSandbox);
  auto written = co_await out.Write(created);
  co_return written;
}

// One allowed and two refused; with follow a third when something is cancelled, and some missed.
Awaitable<Result<void>> FakeDaemon::StreamSandboxNetwork(rpc::CallContext&,
                                                         v1::StreamSandboxNetworkRequest request,
                                                         rpc::Writer<v1::NetworkDecision>& out) {
  Note("network " + request.sandbox_id() + (request.follow() ? " follow" : ""));
  if (request.sandbox_id() == kUnknownSandbox) {
    co_return Err(
        Error(ErrorCode::kNotFound, "there is no such sandbox").About(SubjectKind::kSandbox));
  }
  auto allowed = Refused("good.example.com", 443);
  allowed.set_allowed(true);
  allowed.set_reason_code("allowed");
  allowed.clear_suggestion();
  allowed.clear_rule();
  CR_CO_TRY(co_await out.Write(allowed));
  auto refused = Refused("evil.example.com", 443);
  refused.set_message("\x1b[2Jevil");
  CR_CO_TRY(co_await out.Write(refused));
  refused = Refused("evil.example.com", 80);
  refused.set_count(7);
  CR_CO_TRY(co_await out.Write(refused));
  if (!request.follow()) co_return Result<void>();
  v1::NetworkDecision missed;
  missed.set_missed(3);
  CR_CO_TRY(co_await out.Write(missed));
  refused = Refused("late.example.com", 22);
  auto written = co_await out.Write(refused);
  co_return written;
}

// By id; the one made last has the lesser one, as if it had been a spare.
Awaitable<Result<v1::ListSandboxesResponse>> FakeDaemon::ListSandboxes(rpc::CallContext&,
                                                                       v1::ListSandboxesRequest) {
  v1::ListSandboxesResponse response;
  response.add_sandboxes()->set_sandbox_id(kSandbox);
  response.mutable_sandboxes(0)->mutable_created_at()->set_seconds(1'700'000'100);
  response.add_sandboxes()->set_sandbox_id(kUnknownSandbox);
  response.mutable_sandboxes(1)->mutable_created_at()->set_seconds(1'700'000'000);
  co_return response;
}

Awaitable<Result<v1::TerminateSandboxResponse>> FakeDaemon::TerminateSandbox(
    rpc::CallContext&, v1::TerminateSandboxRequest request) {
  Note("terminate " + request.sandbox_id());
  v1::TerminateSandboxResponse response;
  response.set_terminated(true);
  co_return response;
}

Awaitable<Result<v1::CreateExecutionResponse>> FakeDaemon::CreateExecution(
    rpc::CallContext&, v1::CreateExecutionRequest request) {
  if (request.command(0) == "refused")
    co_return Err(ErrorCode::kFailedPrecondition, "the sandbox is STOPPED");
  command_.assign(request.command().begin(), request.command().end());
  std::string note = "execute";
  for (const std::string& word : command_) note += " " + word;
  for (const std::string& variable : request.options().env()) note += " env:" + variable;
  if (request.options().stdin()) note += " stdin";
  tty_ = request.options().tty();
  if (tty_) {
    const v1::WindowSize& size = request.options().window();
    note += " tty " + std::to_string(size.rows()) + "x" + std::to_string(size.columns());
  }
  Note(note);
  v1::CreateExecutionResponse response;
  response.mutable_execution()->set_execution_id(kExecution);
  response.mutable_execution()->set_status(v1::EXECUTION_STATUS_RUNNING);
  co_return response;
}

Awaitable<Result<v1::CancelExecutionResponse>> FakeDaemon::CancelExecution(
    rpc::CallContext&, v1::CancelExecutionRequest request) {
  Note("cancel " + request.execution_id());
  if (command_.front() != "stubborn") cancel_ = true;
  cancelled_.NotifyAll();
  co_return v1::CancelExecutionResponse();
}

Awaitable<Result<void>> FakeDaemon::PullImage(rpc::CallContext&, v1::PullImageRequest request,
                                              rpc::Writer<v1::ImageEvent>& out) {
  Note("pull " + request.ref());
  if (request.ref().starts_with("locked.example/")) {
    co_return Err(Error(ErrorCode::kUnauthenticated, "the registry wants credentials")
                      .About(SubjectKind::kRegistry, "locked.example")
                      .Remedy("Log in with: docker login locked.example"));
  }
  v1::ImageEvent event;
  event.mutable_image()->set_ref("registry.example/base@sha256:" + std::string(64, 'c'));
  auto written = co_await out.Write(event);
  co_return written;
}

Awaitable<Result<v1::ResolveImageResponse>> FakeDaemon::ResolveImage(
    rpc::CallContext&, v1::ResolveImageRequest request) {
  Note("resolve " + request.ref());
  v1::ResolveImageResponse response;
  response.set_ref("registry.example/base@sha256:" + std::string(64, 'd'));
  co_return response;
}

Awaitable<Result<void>> FakeDaemon::WarmUp(rpc::CallContext&, v1::WarmUpRequest request,
                                           rpc::Writer<v1::WarmUpEvent>& out) {
  Note("warm up " + request.policy().image_ref() + " " + request.backend());
  if (request.backend() == "broken")
    co_return Err(ErrorCode::kRuntimeLaunchFailed, "the machine did not boot");
  v1::WarmUpEvent event;
  event.mutable_progress()->set_phase("template");
  event.mutable_progress()->set_message("booting");
  CR_CO_TRY(co_await out.Write(event));
  event.mutable_ready()->set_key("0123abcd");
  event.mutable_ready()->set_size_bytes(77);
  auto written = co_await out.Write(event);
  co_return written;
}

Awaitable<Result<v1::DiskUsageResponse>> FakeDaemon::DiskUsage(rpc::CallContext&,
                                                               v1::DiskUsageRequest) {
  v1::DiskUsageResponse response;
  *response.add_items() = Item("image", "registry.example/\x1b[2Jbase", 3 << 20, true, false);
  *response.add_items() = Item("image", "registry.example/other", 2 << 20, false, true);
  *response.add_items() = Item("template", "0123abcd", 1 << 20, false, true);
  for (const char* kind : {"work-tree", "work-tree", "objects", "mirror", "mirror"}) {
    v1::StoredItem item = Item(kind, "https://git.example/r\x1b[2J", 4096, true, false);
    if (response.items().rbegin()->kind() == "mirror")
      item = Item(kind, "https://git.example/other", 1 << 20, false, true);
    item.set_remote(item.name());
    *response.add_items() = item;
  }
  *response.add_items() = Item("audit", "2026-11-22.jsonl", 4096, false, false);
  co_return response;
}

Awaitable<Result<v1::PruneResponse>> FakeDaemon::Prune(rpc::CallContext&,
                                                       v1::PruneRequest request) {
  Note(std::string(request.dry_run() ? "look" : "prune") + (request.all() ? " all " : " ") +
       (request.mirrors() ? "mirrors " + request.remote() + " " : "") +
       std::to_string(request.older_than_seconds()));
  v1::PruneResponse response;
  *response.add_items() = Item("template", "0123abcd", 1 << 20, false, true);
  response.set_freed_bytes(1 << 20);
  if (request.older_than_seconds() == 13) response.add_failures("internal: template x: busy");
  co_return response;
}

Awaitable<Result<void>> FakeDaemon::AttachExecution(rpc::CallContext&,
                                                    rpc::Reader<v1::AttachExecutionRequest>& in,
                                                    rpc::Writer<v1::ExecutionStreamEvent>& out) {
  auto first = co_await in.Next();
  if (!first) co_return Err(std::move(first).error());
  Note("attach " + (*first)->execution_id());
  v1::ExecutionStreamEvent event;
  auto exit = Exit(0, v1::EXECUTION_STATUS_SUCCEEDED);
  if (command_.front() == "exit") {
    exit = Exit(std::stoi(command_.at(1)), v1::EXECUTION_STATUS_FAILED);
    event.set_stderr("bye\n");
    CR_CO_TRY(co_await out.Write(event));
  } else if (command_.front() == "lost") {
    exit = Exit(1, v1::EXECUTION_STATUS_FAILED);
    exit.mutable_exit()->set_message("unavailable: the machine is gone");
    exit.mutable_exit()->mutable_why()->set_code("unavailable");
    exit.mutable_exit()->mutable_why()->set_message("the machine is gone");
  } else if (command_.front() == "refused-net") {
    // As many distinct hosts as asked for.
    exit = Exit(7, v1::EXECUTION_STATUS_FAILED);
    const int count = std::stoi(command_.at(1));
    for (int i = 0; i < count; ++i)
      *exit.mutable_exit()->add_refused() = Refused("x" + std::to_string(i) + ".example.com", 443);
    exit.mutable_exit()->set_refused_more(count > 20 ? 5 : 0);
  } else if (command_.front() == "cat") {
    // Shown once the terminal is ready for keys.
    event.set_stdout(tty_ ? "ready" : "");
    if (tty_) {
      CR_CO_TRY(co_await out.Write(event));
    }
    for (;;) {
      auto message = co_await in.Next();
      if (!message) co_return Err(std::move(message).error());
      if (!message->has_value() || (*message)->close_stdin()) break;
      if ((*message)->has_resize()) {
        const v1::WindowSize& size = (*message)->resize();
        Note("resize " + std::to_string(size.rows()) + "x" + std::to_string(size.columns()));
        continue;
      }
      if ((*message)->stdin() == "\x04") break;
      event.set_stdout((*message)->stdin());
      CR_CO_TRY(co_await out.Write(event));
    }
  } else if (command_.front() == "yes") {
    event.set_stdout(std::string(32768, 'y'));
    while (!cancel_) {
      CR_CO_TRY(co_await out.Write(event));
    }
  } else {  // sleep, stubborn
    while (!cancel_) {
      co_await cancelled_.Wait();
      const bool dropped = co_await Cancelled();
      if (dropped) {
        Note("detached");
        co_return Err(ErrorCode::kCanceled, "dropped");
      }
    }
    exit = Exit(143, v1::EXECUTION_STATUS_CANCELED);
  }
  auto written = co_await out.Write(exit);
  co_return written;
}

}  // namespace cleanroom::cli
