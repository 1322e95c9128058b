// ControlPlane: everything that serves, constructed once and in order.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/async.h"
#include "config/endpoint.h"
#include "os/file.h"
#include "server/api/execution_service.h"
#include "server/api/image_service.h"
#include "server/api/listeners.h"
#include "server/api/sandbox_service.h"
#include "server/api/system_service.h"
#include "server/executions/executions.h"
#include "server/host/host_checks.h"
#include "server/host/host_resources.h"
#include "server/network/network_records.h"
#include "server/repositories/repositories.h"
#include "server/sandboxes/sandboxes.h"
#include "server/storage/file_storage.h"
#include "server/storage/image_storage.h"
#include "server/storage/repository_storage.h"
#include "server/storage/storage.h"
#include "server/storage/template_storage.h"
#include "server/warden/jail_checks.h"
#include "server/warm/spares.h"
#include "server/warm/templates.h"
#include "server/warm/warm_up.h"
#include "telemetry/metrics.h"

namespace cleanroom::server {

// Connections that come over the network: who they are is known only when they have said so.
struct RemoteLimits {
  std::chrono::seconds idle{120};  // without a request under way; 0: none
  size_t max_connections = 256;    // for each listener
};

struct ControlPlaneConfig {
  Settings settings;
  MachineConfig machine;
  registry::RegistryOptions registry;
  std::vector<config::Endpoint> listen;
  std::vector<std::string> tokens;  // for http and https listeners; empty: none needed
  std::optional<config::Endpoint> metrics_listen;
  RemoteLimits remote;
  Handshake tls;  // for https; empty: https listeners are refused
  const rpc::Codec* json = nullptr;
  const rpc::Compression* compression = nullptr;
};

class ControlPlane : private telemetry::MetricsSource {
 public:
  // Makes the folders, takes the state folder's lock and opens the records. failed_precondition
  // when another daemon has the lock. The config is fixed from here on.
  static Result<std::unique_ptr<ControlPlane>> Create(asio::any_io_executor executor,
                                                      ControlPlaneConfig config);
  ~ControlPlane() override;

  // Finds what an earlier daemon left, listens, calls `ready` with the real endpoints, and serves
  // until Stop. Then ends all sandboxes and returns. An error means that it never served.
  Awaitable<Result<void>> Run(std::function<void(const std::vector<config::Endpoint>&)> ready);
  void Stop();

 private:
  ControlPlane(asio::any_io_executor executor, ControlPlaneConfig config, os::FileLock lock,
               std::unique_ptr<store::RecordStore> store, image::ImageStore images,
               std::unique_ptr<Repositories> repositories);
  Result<void> Listen();
  // The same, when the addresses are free, or will be in a moment.
  Awaitable<Result<void>> ListenSoon();
  Awaitable<void> ForgetOldTemplates();
  Awaitable<void> Housekeep();
  void WriteMetrics(telemetry::MetricsText& out) const override;
  // What sandboxes boot with, once that is known.
  BootsWith BootFiles() const;
  // Names in the cache folder that CacheStorage leaves to others.
  static std::set<std::string> OwnedCaches();

  telemetry::Metrics metrics_;
  asio::any_io_executor executor_;
  ControlPlaneConfig config_;
  os::FileLock lock_;
  Layout layout_;
  std::unique_ptr<store::RecordStore> store_;
  BlockingPool pool_{4};
  Images images_;
  MachineSupply machines_;
  HostResources resources_;
  std::unique_ptr<Repositories> repositories_;
  Templates templates_;
  Spares spares_;
  Sandboxes sandboxes_;
  Executions executions_;
  NetworkRecords network_;
  ImageStorage image_storage_;
  TemplateStorage template_storage_;
  LayerStorage layer_storage_;
  MirrorStorage mirror_storage_;
  BundleStorage bundle_storage_;
  KernelStorage kernel_storage_;
  RecordStorage record_storage_;
  CacheStorage cache_storage_;
  Storage storage_;
  WarmUp warm_up_;
  VmmChecks vmm_checks_;
  JailChecks jail_checks_;
  RoomChecks room_checks_;

  SandboxService sandbox_service_;
  ExecutionService execution_service_;
  ImageService image_service_;
  SystemService system_service_;
  rpc::Router local_router_;    // unix sockets: the file's mode decides who may call
  rpc::Router remote_router_;   // tokens decide
  rpc::Router metrics_router_;  // metrics alone
  rpc::Server metrics_server_;
  rpc::Server local_server_;
  rpc::Server remote_server_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  std::unique_ptr<Acceptor> metrics_acceptor_;  // may be null
  std::chrono::system_clock::time_point started_;

  Notifier stopping_;
  bool stop_ = false;
};

}  // namespace cleanroom::server
