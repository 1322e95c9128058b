// Config: the runtime configuration of a host or a client (`config.yaml`). Strict: an unknown key
// is an error with its place. A request's own value goes before the config's, and the config's
// before the defaults that stand here.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "document/diagnostic.h"

namespace cleanroom::config {

// Where a credential comes from; exactly one is set.
struct SecretSource {
  Secret value;      // written in the file itself
  std::string env;   // the name of a variable of the daemon
  std::string file;  // a path
  bool operator==(const SecretSource&) const = default;
};

struct Snapshots {
  bool enabled = true;
  bool operator==(const Snapshots&) const = default;
};

// What every backend has.
struct Backend {
  std::string binary_path;   // "" for the one in PATH
  std::string kernel_image;  // "" for the managed kernel
  int vcpus = 2;
  int memory_mib = 1024;
  int disk_mib = 8192;
  int launch_seconds = 30;
  Snapshots snapshots;
  bool operator==(const Backend&) const = default;
};

enum class Accelerator { kAuto, kKvm, kTcg };
std::string_view ToString(Accelerator accelerator);

struct Qemu : Backend {
  Accelerator accel = Accelerator::kAuto;
  bool operator==(const Qemu&) const = default;
};

// Parsed so that one file serves a macOS host too; using it is backend_unavailable.
struct DarwinVz : Backend {
  std::string rootfs;
  bool operator==(const DarwinVz&) const = default;
};

struct GatewayCredential {
  std::string username;  // "" for a bearer token
  SecretSource token;
  bool operator==(const GatewayCredential&) const = default;
};

struct Gateway {
  std::string listen;  // "" for the default; host:port or unix:///path
  std::map<std::string, GatewayCredential> credentials;  // by host
  std::vector<std::string> git_cache_hosts;
  std::vector<std::string> git_http_hosts;  // from which repositories come by plain http
  std::vector<std::string> oci_registries;
  std::vector<std::string> fetch_hosts;
  bool operator==(const Gateway&) const = default;
};

struct Network {
  // DNS servers for names of sandboxes, "address:port" each; empty for those of /etc/resolv.conf.
  std::vector<std::string> resolvers;
  bool operator==(const Network&) const = default;
};

struct Cache {
  std::optional<int64_t> max_bytes;
  std::vector<std::string> peers;  // URLs
  bool operator==(const Cache&) const = default;
};

struct Pool {
  int size = 2;  // restored machines kept ready for each image in use; 0 for none
  std::optional<int> memory_mib;
  // Whether one of each image in use is held in memory, for others to be forked from; nothing:
  // where the backend can and gains by it.
  std::optional<bool> hold;
  bool operator==(const Pool&) const = default;
};

struct Token {
  std::string name;  // who holds it, for records
  SecretSource source;
  bool operator==(const Token&) const = default;
};

struct Auth {
  bool required = false;
  std::vector<Token> tokens;
  bool operator==(const Auth&) const = default;
};

// Connections to the http and https listeners; a unix socket has no such limits.
struct Listeners {
  int idle_seconds = 120;     // without a request under way; 0 for no limit
  int max_connections = 256;  // at once, for each listener
  bool operator==(const Listeners&) const = default;
};

enum class LogFormat { kText, kJson };
std::string_view ToString(LogFormat format);

struct Observability {
  LogFormat log_format = LogFormat::kText;
  std::string otlp;            // a collector's URL, "" for none
  std::string metrics_listen;  // host:port, "" for none
  bool operator==(const Observability&) const = default;
};

struct Config {
  std::string default_backend = "qemu";  // qemu, firecracker or darwin-vz
  std::string control_host;              // what clients connect to; see endpoint.h
  std::string default_image;             // used by `sandbox create` without --image or a policy
  Qemu qemu;
  Backend firecracker;
  std::optional<DarwinVz> darwin_vz;
  Gateway gateway;
  Network network;
  Cache cache;
  Pool pool;
  Auth auth;
  Listeners listeners;
  Observability observability;
  int audit_days = 90;  // retention.audit_days

  bool operator==(const Config&) const = default;
};

struct ParsedConfig {
  Config config;
  std::vector<document::Diagnostic> warnings;  // keys of earlier versions that have no effect
};

// Reads a config.yaml; reports everything that is wrong. An empty file is the defaults.
std::expected<ParsedConfig, std::vector<document::Diagnostic>> Parse(std::string_view yaml,
                                                                     std::string_view file_name);

// Reads a file: not_found when it is absent, invalid_argument with every diagnostic, a line each.
// This is all that `config validate` does.
Result<ParsedConfig> Load(const std::string& path);
// The same, but an absent file gives the defaults.
Result<ParsedConfig> LoadOrDefault(const std::string& path);

// What `config init` writes: every key, commented, at its default; parses to Config() but for the
// backend. invalid_argument for an unknown backend.
Result<std::string> InitText(std::string_view default_backend = "qemu");

}  // namespace cleanroom::config
