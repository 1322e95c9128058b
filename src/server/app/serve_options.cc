#include "server/app/serve_options.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "os/file.h"
#include "vmm/backends/backends.h"

namespace cleanroom::server {
namespace {

constexpr size_t kMaxSecretBytes = 64U << 10;

// Wardens are found by the folder in their command line, so that folder has one spelling.
Result<std::filesystem::path> Absolute(const std::string& given, const std::string& otherwise) {
  std::error_code error;
  auto path = std::filesystem::weakly_canonical(given.empty() ? otherwise : given, error);
  if (error) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("cannot use the folder {}: {}", given.empty() ? otherwise : given,
                           error.message()));
  }
  return path;
}

// Where `docker login`, `podman login` and `skopeo login` of the daemon's user keep what they are
// told.
std::vector<std::filesystem::path> CredentialFiles() {
  const auto folder = [](const char* name) -> std::filesystem::path {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
  };
  const std::filesystem::path named = folder("REGISTRY_AUTH_FILE"),
                              docker = folder("DOCKER_CONFIG"), home = folder("HOME"),
                              runtime = folder("XDG_RUNTIME_DIR"),
                              config = folder("XDG_CONFIG_HOME");
  if (!named.empty()) return {named};
  std::vector<std::filesystem::path> out;
  if (!docker.empty()) {
    out.push_back(docker / "config.json");
  } else if (!home.empty()) {
    out.push_back(home / ".docker" / "config.json");
  }
  if (!runtime.empty()) out.push_back(runtime / "containers" / "auth.json");
  if (!config.empty() || !home.empty())
    out.push_back((config.empty() ? home / ".config" : config) / "containers" / "auth.json");
  return out;
}

}  // namespace

Result<std::string> ReadSecret(const config::SecretSource& source) {
  if (!source.value.empty()) return source.value.Reveal();
  if (!source.env.empty()) {
    const char* value = std::getenv(source.env.c_str());
    if (value != nullptr && *value != '\0') return std::string(value);
    return Err(ErrorCode::kFailedPrecondition,
               fmt::format("the environment variable {} is not set", source.env));
  }
  CR_TRY_ASSIGN(std::string text, os::ReadFile(source.file, kMaxSecretBytes));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (text.empty())
    return Err(ErrorCode::kFailedPrecondition, fmt::format("{} is empty", source.file));
  return text;
}

Result<ServeOptions> MakeServeOptions(const ServeFlags& flags, const config::Config& config,
                                      const config::Paths& paths, const std::string& program_dir) {
  if (!flags.gateway_listen.empty()) {
    return Err(ErrorCode::kUnimplemented, "--gateway-listen: this build has no gateway");
  }
  ServeOptions options;
  options.log_format = config.observability.log_format;
  ControlPlaneConfig& plane = options.control_plane;
  Settings& settings = plane.settings;
  CR_TRY_ASSIGN(settings.state_dir, Absolute(flags.state_dir, paths.state_dir));
  CR_TRY_ASSIGN(settings.cache_dir, Absolute(flags.cache_dir, paths.cache_dir));
  CR_TRY_ASSIGN(settings.runtime_dir, Absolute(flags.runtime_dir, paths.runtime_dir));
  settings.warden_program = std::filesystem::path(program_dir) / "cleanroom-warden";
  settings.default_backend = config.default_backend;
  settings.vcpus = config.qemu.vcpus;
  settings.memory_mib = config.qemu.memory_mib;
  settings.disk_mib = config.qemu.disk_mib;
  settings.resolvers = config.network.resolvers;
  settings.git_http_hosts = config.gateway.git_http_hosts;
  settings.audit_days = config.audit_days;
  plane.remote.idle = std::chrono::seconds(config.listeners.idle_seconds);
  plane.remote.max_connections = static_cast<size_t>(config.listeners.max_connections);
  if (!config.observability.metrics_listen.empty()) {
    auto endpoint = config::Endpoint::Parse("http://" + config.observability.metrics_listen);
    if (!endpoint)
      return Err(std::move(endpoint).error().Context("observability.metrics_listen (host:port)"));
    plane.metrics_listen = std::move(*endpoint);
  }
  if (flags.guest_silence_seconds > 0)
    settings.guest_silence = std::chrono::seconds(flags.guest_silence_seconds);
  settings.pool_size = config.pool.size;
  settings.pool_memory_mib = config.pool.memory_mib;
  settings.pool_hold = config.pool.hold.value_or(true);
  settings.launch_seconds = config.qemu.launch_seconds;

  plane.machine.qemu_binary =
      config.qemu.binary_path.empty() ? "qemu-system-x86_64" : config.qemu.binary_path;
  plane.machine.kernel_image = config.qemu.kernel_image;
  plane.machine.accel = config::ToString(config.qemu.accel);
  plane.machine.launch_limit = std::chrono::seconds(config.qemu.launch_seconds);
  plane.machine.agent = std::filesystem::path(program_dir) / "cleanroom-guest";
  plane.machine.preload = std::filesystem::path(program_dir) / "cleanroom-qemu-preload.so";
  plane.machine.cache_dir = settings.cache_dir;
  plane.machine.state_dir = settings.state_dir;
  plane.registry.credentials.files = CredentialFiles();
  plane.registry.http.certificate_folders = {
      std::filesystem::path(paths.config_file).parent_path() / "certs.d", "/etc/docker/certs.d",
      "/etc/containers/certs.d"};

  std::vector<std::string> listen = flags.listen;
  if (listen.empty())
    listen.push_back("unix://" + (settings.runtime_dir / "cleanroom.sock").string());
  bool https = false;
  for (const std::string& text : listen) {
    CR_TRY_ASSIGN(auto endpoint, config::Endpoint::Parse(text));
    https = https || endpoint.scheme == config::Endpoint::Scheme::kHttps;
    plane.listen.push_back(std::move(endpoint));
  }
  if (https) {
    const std::filesystem::path tls(paths.tls_dir);
    options.tls.certificate =
        flags.tls_cert.empty() ? (tls / "server.pem").string() : flags.tls_cert;
    options.tls.key = flags.tls_key.empty() ? (tls / "server.key").string() : flags.tls_key;
  } else if (!flags.tls_cert.empty() || !flags.tls_key.empty()) {
    return Err(ErrorCode::kInvalidArgument,
               "--tls-cert and --tls-key are for an https listener: add --listen https://...");
  }

  if (config.auth.required) {
    for (const config::Token& token : config.auth.tokens) {
      auto value = ReadSecret(token.source);
      if (!value)
        return Err(std::move(value).error().Context(fmt::format("auth token '{}'", token.name)));
      plane.tokens.push_back(std::move(*value));
    }
    if (plane.tokens.empty()) {
      return Err(ErrorCode::kFailedPrecondition,
                 "auth.required is set and auth.tokens is empty: nobody could call");
    }
  }
  return options;
}

std::vector<std::string> WithoutEffect(const config::Config& config) {
  std::vector<std::string> keys;
  if (config.default_backend != "qemu")
    keys.push_back("default_backend: " + config.default_backend);
  config::Gateway idle = config.gateway;
  idle.git_http_hosts.clear();
  if (idle != config::Gateway()) keys.emplace_back("gateway");
  if (config.cache.max_bytes) keys.emplace_back("cache.max_bytes");
  if (!config.cache.peers.empty()) keys.emplace_back("cache.peers");
  if (config.pool.hold.value_or(false) && !vmm::AnyCanHold()) keys.emplace_back("pool.hold");
  if (!config.observability.otlp.empty()) keys.emplace_back("observability.otlp");
  return keys;
}

}  // namespace cleanroom::server
