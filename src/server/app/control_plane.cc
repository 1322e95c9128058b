#include "server/app/control_plane.h"

#include <fmt/format.h>

#include <chrono>

#include "base/sha256/sha256.h"
#include "repository/bundle.h"
#include "server/api/authenticator.h"
#include "server/api/capabilities.h"
#include "server/warden/sandbox_user.h"
#include "telemetry/log.h"
#include "vmm/accelerator.h"

namespace cleanroom::server {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

using config::Endpoint;

// A daemon that was killed while it started a process leaves its lock and its sockets to that
// process until that has become another program: they are waited for. See os/process.cc.
constexpr std::chrono::milliseconds kTakeOver{2000};
constexpr std::chrono::milliseconds kTakeOverPause{20};

// How exact idle limits are, and how often the records' log is folded in.
constexpr std::chrono::seconds kHousekeeping{15};
// How late a day's audit files may go.
constexpr std::chrono::hours kAuditPruning{1};

// Over the network an answer that takes several packets is compressed.
constexpr size_t kCompressFrom = 1024;

// UploadSandboxFile carries 16 MiB, and what is around them.
constexpr size_t kMaxMessage = 17U << 20;
// Creating a sandbox, too, of local changes; and of local commits what they may be.
constexpr size_t kMaxCreate = kMaxMessage + repository::kMaxBundleBytes;

rpc::ServerOptions ServerOptionsOf() {
  rpc::ServerOptions options;
  options.max_message_bytes = kMaxMessage;
  return options;
}

rpc::ServerOptions MetricsOptions(const RemoteLimits& limits) {
  rpc::ServerOptions options = ServerOptionsOf();
  options.idle_timeout = limits.idle;
  return options;
}

rpc::ServerOptions RemoteOptions(const RemoteLimits& limits) {
  rpc::ServerOptions options = MetricsOptions(limits);
  options.compress_from = kCompressFrom;
  return options;
}

// One daemon's groups of sandboxes, found again after a crash.
std::string GroupOf(std::string_view state_dir) {
  return "cleanroom-" + Sha256Hex(state_dir).substr(0, 8);
}

WallClock SystemClock() {
  return [] { return std::chrono::system_clock::now(); };
}

}  // namespace

Result<std::unique_ptr<ControlPlane>> ControlPlane::Create(asio::any_io_executor executor,
                                                           ControlPlaneConfig config) {
  const Layout layout(config.settings.state_dir);
  for (const std::string& folder : {config.settings.state_dir.string(), layout.Sandboxes(),
                                    layout.Executions(), config.settings.cache_dir.string()}) {
    CR_TRY(os::MakeDirs(folder));
  }
  auto lock = os::FileLock::Acquire(layout.Lock(), kTakeOver);
  if (!lock) {
    if (lock.error().code() != ErrorCode::kDeadlineExceeded) return Err(std::move(lock).error());
    return Err(
        ErrorCode::kFailedPrecondition,
        fmt::format(
            "another daemon uses the state folder {}: stop it, or choose another --state-dir",
            config.settings.state_dir.string()));
  }
  auto groups = os::Cgroups::Find(GroupOf(config.settings.state_dir.string()));
  if (groups) {
    config.settings.cgroups = *std::move(groups);
  } else {
    Log(LogLevel::kInfo, "no limits on memory and processes", Field("error", groups.error()));
  }
  auto users = FindSandboxUsers();
  if (users) {
    config.settings.users = *users;
  } else {
    Log(LogLevel::kWarn, "sandboxes have no users of their own", Field("error", users.error()));
  }
  vmm::RemoveVerdictDrafts(config.settings.state_dir);
  CR_TRY_ASSIGN(auto store, store::RecordStore::Open(layout.Records()));
  CR_TRY_ASSIGN(auto images, image::ImageStore::Open(config.settings.cache_dir));
  CR_TRY_ASSIGN(auto repositories, Repositories::Open({.state_dir = config.settings.state_dir,
                                                       .cache_dir = config.settings.cache_dir,
                                                       .http_hosts = config.settings.git_http_hosts,
                                                       .git = {}}));
  return std::unique_ptr<ControlPlane>(
      new ControlPlane(executor, std::move(config), std::move(*lock), std::move(store),
                       std::move(images), std::move(repositories)));
}

ControlPlane::ControlPlane(asio::any_io_executor executor, ControlPlaneConfig config,
                           os::FileLock lock, std::unique_ptr<store::RecordStore> store,
                           image::ImageStore images, std::unique_ptr<Repositories> repositories)
    : executor_(executor),
      config_(std::move(config)),
      lock_(std::move(lock)),
      layout_(config_.settings.state_dir),
      store_(std::move(store)),
      images_(executor, std::move(images), config_.registry),
      machines_(executor, config_.machine),
      resources_(images_, machines_, pool_, config_.settings.state_dir),
      repositories_(std::move(repositories)),
      templates_(executor, resources_, pool_, config_.settings, layout_, SystemClock()),
      spares_(executor, templates_, resources_, pool_, config_.settings, layout_, SystemClock()),
      sandboxes_(executor, SandboxContext{*store_, resources_, spares_, *repositories_, pool_,
                                          config_.settings, layout_, SystemClock()}),
      executions_(executor, *store_, pool_, sandboxes_, config_.settings, layout_, SystemClock()),
      network_(executor, *store_, pool_, config_.settings, layout_, SystemClock()),
      image_storage_(images_, templates_, spares_, sandboxes_, pool_),
      template_storage_(templates_, spares_, sandboxes_, pool_, layout_, BootFiles()),
      layer_storage_(repositories_->layers(), repositories_->mirrors(), sandboxes_, pool_,
                     SystemClock()),
      mirror_storage_(repositories_->mirrors(), sandboxes_, pool_),
      bundle_storage_(repositories_->bundles(), sandboxes_, pool_, SystemClock()),
      kernel_storage_(pool_, SystemClock(), config_.settings.cache_dir, BootFiles()),
      record_storage_(pool_, SystemClock(), config_.settings.state_dir, layout_),
      cache_storage_(pool_, SystemClock(), config_.settings.cache_dir, OwnedCaches()),
      storage_({&image_storage_, &template_storage_, &layer_storage_, &mirror_storage_,
                &bundle_storage_, &kernel_storage_, &record_storage_, &cache_storage_},
               SystemClock()),
      warm_up_(resources_, templates_, spares_),
      vmm_checks_(machines_.config(), config_.settings.default_backend, pool_),
      jail_checks_(config_.settings, pool_),
      room_checks_(layout_),
      sandbox_service_(sandboxes_, network_, *repositories_, config_.settings, SystemClock(),
                       TrueOnes(CapabilitiesOf("qemu"))),
      execution_service_(executions_, SystemClock()),
      image_service_(executor, images_, image_storage_),
      system_service_({machines_,
                       config_.settings,
                       storage_,
                       warm_up_,
                       {&vmm_checks_, &jail_checks_, &machines_, &room_checks_},
                       SystemClock()}),
      metrics_server_(metrics_router_, MetricsOptions(config_.remote), nullptr),
      local_server_(local_router_, ServerOptionsOf(), config_.json, config_.compression),
      remote_server_(remote_router_, RemoteOptions(config_.remote), config_.json,
                     config_.compression),
      started_(std::chrono::system_clock::now()),
      stopping_(executor) {
  sandboxes_.AddObserver(executions_);
  sandboxes_.AddObserver(network_);
  for (const telemetry::MetricsSource* source :
       std::initializer_list<const telemetry::MetricsSource*>{this, &sandboxes_, &network_}) {
    metrics_.Add(*source);
  }
  for (rpc::Router* router : {&local_router_, &remote_router_}) {
    sandbox_service_.Register(*router);
    execution_service_.Register(*router);
    image_service_.Register(*router);
    system_service_.Register(*router);
    for (const char* create : {"CreateSandbox", "CreateSandboxStream"})
      router->SetMaxMessage(fmt::format("/cleanroom.v1.SandboxService/{}", create), kMaxCreate);
  }
  if (!config_.tokens.empty()) {
    remote_router_.SetGuard(
        [authenticator = Authenticator(config_.tokens)](const rpc::CallContext& call) {
          return authenticator.Check(call);
        });
  } else {
    remote_router_.SetGuard(CheckLocalHost);
  }
  const auto page = [this](const rpc::CallContext&) -> Result<std::string> {
    return metrics_.Text();
  };
  const auto guarded = [this](const rpc::CallContext& call) -> Result<std::string> {
    CR_TRY(remote_router_.Admit(call));
    return metrics_.Text();
  };
  local_router_.AddPage("/metrics", {telemetry::kMetricsType, page});
  metrics_router_.AddPage("/metrics", {telemetry::kMetricsType, page});
  remote_router_.AddPage("/metrics", {telemetry::kMetricsType, guarded});
}

ControlPlane::~ControlPlane() = default;

Result<void> ControlPlane::Listen() {
  for (const Endpoint& endpoint : config_.listen) {
    const bool local = endpoint.scheme == Endpoint::Scheme::kUnix;
    if (endpoint.scheme == Endpoint::Scheme::kHttps && !config_.tls) {
      return Err(ErrorCode::kInvalidArgument,
                 fmt::format("{} needs a certificate: pass --tls-cert and --tls-key",
                             endpoint.ToString()));
    }
    if (!local && !IsLoopback(endpoint.host) && config_.tokens.empty()) {
      return Err(
          ErrorCode::kInvalidArgument,
          fmt::format(
              "{} can be reached from other machines, and nothing asks callers who they are: set "
              "auth.required and auth.tokens in the config, or listen on a loopback address",
              endpoint.ToString()));
    }
    CR_TRY_ASSIGN(auto socket, ListenSocket::Open(endpoint));
    acceptors_.push_back(std::make_unique<Acceptor>(
        executor_, std::move(socket), local ? local_server_ : remote_server_,
        endpoint.scheme == Endpoint::Scheme::kHttps ? config_.tls : Handshake(),
        local ? kMaxLocalConnections : config_.remote.max_connections));
  }
  if (config_.metrics_listen) {
    auto socket = ListenSocket::Open(*config_.metrics_listen);
    if (!socket) return Err(std::move(socket).error().Context("observability.metrics_listen"));
    metrics_acceptor_ = std::make_unique<Acceptor>(executor_, std::move(*socket), metrics_server_,
                                                   Handshake(), config_.remote.max_connections);
    Log(LogLevel::kInfo, "metrics", Field("endpoint", metrics_acceptor_->endpoint().ToString()));
  }
  return {};
}

Awaitable<Result<void>> ControlPlane::ListenSoon() {
  const auto deadline = std::chrono::steady_clock::now() + kTakeOver;
  for (;;) {
    acceptors_.clear();
    auto listening = Listen();
    const bool taken = !listening && listening.error().code() == ErrorCode::kAlreadyExists;
    if (!taken || stop_ || std::chrono::steady_clock::now() >= deadline) co_return listening;
    auto slept = co_await SleepFor(kTakeOverPause);
    (void)slept;
  }
}

BootsWith ControlPlane::BootFiles() const {
  return [this]() -> std::optional<LaunchMachine> {
    if (!machines_.prepared()) return std::nullopt;
    return machines_.prepared()->machine;
  };
}

std::set<std::string> ControlPlane::OwnedCaches() {
  std::set<std::string> names = KernelStorage::Folders();
  names.insert("images");  // the image store's
  names.insert("layers");  // the layer store's
  return names;
}

void ControlPlane::WriteMetrics(telemetry::MetricsText& out) const {
  constexpr std::string_view kName = "process_start_time_seconds";
  out.Family(kName, telemetry::MetricsText::Type::kGauge, "When the daemon started, Unix time.");
  const std::chrono::duration<double> since = started_.time_since_epoch();
  out.Sample(kName, {}, since.count());
}

Awaitable<Result<void>> ControlPlane::Run(std::function<void(const std::vector<Endpoint>&)> ready) {
  // Before anything is touched: a second daemon, or a port that is taken, ends here.
  auto listening = co_await ListenSoon();
  CR_CO_TRY(listening);
  network_.Start();
  auto recovered = co_await sandboxes_.Recover();
  if (recovered) co_await executions_.RemoveStrays();
  Result<void> outcome = recovered;
  TaskScope tasks(executor_);
  if (recovered && !stop_) {
    machines_.WarmUp();
    tasks.Spawn(Housekeep());
    tasks.Spawn(ForgetOldTemplates());
    spares_.Start([this] { return sandboxes_.creating(); });
    for (const auto& acceptor : acceptors_) tasks.Spawn(acceptor->Run());
    if (metrics_acceptor_) tasks.Spawn(metrics_acceptor_->Run());
    std::vector<Endpoint> endpoints;
    endpoints.reserve(acceptors_.size());
    for (const auto& acceptor : acceptors_) endpoints.push_back(acceptor->endpoint());
    ready(endpoints);
    while (!stop_) co_await stopping_.Wait();
    Log(LogLevel::kInfo, "stopping", Field("sandboxes", sandboxes_.live()));
  }
  // While the listeners still serve, so that whoever follows a command learns of its end.
  co_await sandboxes_.Shutdown();
  co_await spares_.Shutdown();
  co_await templates_.Shutdown();
  tasks.Cancel();
  co_await images_.Shutdown();
  co_await tasks.Join();
  co_await executions_.Shutdown();
  co_await network_.Shutdown();
  co_await machines_.Shutdown();
  if (config_.settings.cgroups) config_.settings.cgroups->RemoveTrees();
  acceptors_.clear();
  metrics_acceptor_.reset();
  co_return outcome;
}

void ControlPlane::Stop() {
  stop_ = true;
  stopping_.NotifyAll();
}

Awaitable<void> ControlPlane::ForgetOldTemplates() {
  while (!machines_.prepared()) {
    co_await machines_.changed().Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return;
  }
  const std::string identity = machines_.prepared()->machine.identity;
  co_await templates_.RemoveStale(identity);
}

Awaitable<void> ControlPlane::Housekeep() {
  const std::string path = store_->path();
  std::optional<std::chrono::steady_clock::time_point> pruned;
  for (;;) {
    const auto now = std::chrono::steady_clock::now();
    if (!pruned || now - *pruned >= kAuditPruning) {
      pruned = now;
      co_await network_.Prune();
      if (stop_) co_return;
    }
    auto slept = co_await SleepFor(kHousekeeping);
    if (!slept || stop_) co_return;
    sandboxes_.ReapIdle();
    auto work = [path] { return store::RecordStore::Checkpoint(path); };
    auto folded = co_await pool_.Run(work);
    if (!folded)
      Log(LogLevel::kWarn, "cannot fold the records' log in", Field("error", folded.error()));
    if (stop_) co_return;
  }
}

}  // namespace cleanroom::server
