#include "config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "base/image_ref.h"
#include "base/machine_limits.h"
#include "config/endpoint.h"
#include "document/document.h"
#include "document/fields.h"
#include "net/host_name.h"
#include "net/ip_address.h"
#include "net/socket_address.h"

namespace cleanroom::config {
namespace {

using document::Fields;
using document::Node;
using document::Report;

constexpr size_t kMaxLine = 4096;
constexpr size_t kMaxEntries = 256;
constexpr int64_t kMaxPoolMib = 64LL << 20;  // 64 TiB
constexpr int kMaxLaunchSeconds = 3600;
constexpr int kMaxIdleSeconds = 86400;
constexpr int kMaxConnections = 65536;
constexpr std::array<std::string_view, 3> kBackends = {"qemu", "firecracker", "darwin-vz"};

void Take(std::optional<std::string> value, std::string& out) {
  if (value) out = *std::move(value);
}
void Take(std::optional<int64_t> value, int& out) {
  if (value) out = static_cast<int>(*value);
}
void Take(std::optional<bool> value, bool& out) {
  if (value) out = *value;
}

// Text that may be written empty, which is its default ("auto-managed").
void TakeOptionalLine(Fields& fields, std::string_view key, std::string& out) {
  const Node* node = fields.Get(key);
  if (node == nullptr || (node->kind == Node::Kind::kScalar && node->text.empty() && !node->plain))
    return;
  Take(ReadLine(*node, fields.Path(key), kMaxLine, fields.report()), out);
}

void ReadBackend(Fields& fields, Backend& out) {
  TakeOptionalLine(fields, "binary_path", out.binary_path);
  TakeOptionalLine(fields, "kernel_image", out.kernel_image);
  Take(fields.Integer("vcpus", 1, kMaxVcpus), out.vcpus);
  Take(fields.Integer("memory_mib", kMinMemoryMib, kMaxMemoryMib), out.memory_mib);
  Take(fields.Integer("disk_mib", kMinDiskMib, kMaxDiskMib), out.disk_mib);
  Take(fields.Integer("launch_seconds", 1, kMaxLaunchSeconds), out.launch_seconds);
  if (const Node* node = fields.Get("snapshots")) {
    Fields snapshots(*node, fields.Path("snapshots"), fields.report());
    Take(snapshots.Boolean("enabled"), out.snapshots.enabled);
    snapshots.Finish();
  }
}

// A scalar is the value itself; a map names where it is.
SecretSource ReadSecret(Fields& fields) {
  SecretSource out;
  std::optional<std::string> value = fields.Line("token", kMaxLine);
  Take(fields.Line("token_env", kMaxLine), out.env);
  Take(fields.Line("token_file", kMaxLine), out.file);
  const int count = (value ? 1 : 0) + (out.env.empty() ? 0 : 1) + (out.file.empty() ? 0 : 1);
  if (count != 1 && fields.node().kind == Node::Kind::kMap) {
    fields.report().Add(fields.node(), fields.Path("token"),
                        "write exactly one of `token`, `token_env` and `token_file`");
  }
  if (value) out.value = Secret(*std::move(value));
  return out;
}

void ReadHosts(Fields& fields, std::string_view key, std::vector<std::string>& out) {
  const Node* node = fields.Get(key);
  if (node == nullptr) return;
  size_t index = 0;
  for (const Node& item : ReadList(*node, fields.Path(key), kMaxEntries, fields.report())) {
    const std::string here = fmt::format("{}[{}]", fields.Path(key), index++);
    const auto text = ReadLine(item, here, kMaxLine, fields.report());
    if (!text) continue;
    Result<net::HostPattern> host = net::HostPattern::Parse(*text);
    if (host) {
      out.push_back(host->text());
    } else {
      fields.report().Add(item, here, host.error().message());
    }
  }
}

void ReadGateway(const Node& node, Gateway& out, Report& report) {
  Fields fields(node, "gateway", report);
  TakeOptionalLine(fields, "listen", out.listen);
  if (const Node* credentials = fields.Get("credentials")) {
    if (credentials->kind != Node::Kind::kMap) {
      report.Add(
          *credentials, fields.Path("credentials"),
          fmt::format("expected a map from host to credential, found {}", credentials->Describe()));
    }
    for (const auto& [host, value] : credentials->entries) {
      const std::string here = fmt::format("{}.{}", fields.Path("credentials"), host.text);
      const Result<std::string> name = net::NormalizeHost(host.text);
      if (!name) {
        report.Add(host, fields.Path("credentials"), name.error().message());
        continue;
      }
      Fields credential(value, here, report);
      GatewayCredential& entry = out.credentials[*name];
      Take(credential.Line("username", kMaxLine), entry.username);
      entry.token = ReadSecret(credential);
      credential.Finish();
    }
  }
  if (const Node* git = fields.Get("git")) {
    Fields section(*git, fields.Path("git"), report);
    ReadHosts(section, "cache_hosts", out.git_cache_hosts);
    ReadHosts(section, "http_hosts", out.git_http_hosts);
    section.Finish();
  }
  if (const Node* oci = fields.Get("oci")) {
    Fields section(*oci, fields.Path("oci"), report);
    // With a port, so not plain host names; checked as the registry of a reference.
    const Node* registries = section.Get("registries");
    size_t index = 0;
    static const std::vector<Node> kNone;
    for (const Node& item :
         registries == nullptr
             ? kNone
             : ReadList(*registries, section.Path("registries"), kMaxEntries, report)) {
      const std::string here = fmt::format("{}[{}]", section.Path("registries"), index++);
      const auto text = ReadLine(item, here, kMaxLine, report);
      if (!text) continue;
      const Result<ImageRef> ref = ImageRef::Parse(*text + "/x");
      if (ref && text->find('/') == std::string::npos && ref->repository == "x") {
        out.oci_registries.push_back(ref->registry);
      } else {
        report.Add(item, here,
                   fmt::format("`{}` is not a registry; write HOST or HOST:PORT", *text));
      }
    }
    section.Finish();
  }
  if (const Node* fetch = fields.Get("fetch")) {
    Fields section(*fetch, fields.Path("fetch"), report);
    ReadHosts(section, "hosts", out.fetch_hosts);
    section.Finish();
  }
  fields.Finish();
}

void ReadAuth(const Node& node, Auth& out, Report& report) {
  Fields fields(node, "auth", report);
  Take(fields.Boolean("required"), out.required);
  if (const Node* tokens = fields.Get("tokens")) {
    size_t index = 0;
    for (const Node& item : ReadList(*tokens, fields.Path("tokens"), kMaxEntries, report)) {
      Fields entry(item, fmt::format("{}[{}]", fields.Path("tokens"), index++), report);
      Token token;
      if (const Node* name = entry.Require("name", "say who holds the token")) {
        Take(ReadLine(*name, entry.Path("name"), kMaxLine, report), token.name);
      }
      token.source = ReadSecret(entry);
      entry.Finish();
      out.tokens.push_back(std::move(token));
    }
  }
  if (out.required && out.tokens.empty()) {
    report.Add(node, "auth.tokens",
               "is empty although `auth.required` is true; nobody could connect");
  }
  fields.Finish();
}

void ReadObservability(const Node& node, Observability& out, Report& report) {
  Fields fields(node, "observability", report);
  if (const Node* logs = fields.Get("logs")) {
    Fields section(*logs, fields.Path("logs"), report);
    if (section.Choice("format", {"text", "json"}) == "json") out.log_format = LogFormat::kJson;
    section.Finish();
  }
  TakeOptionalLine(fields, "otlp", out.otlp);
  TakeOptionalLine(fields, "metrics_listen", out.metrics_listen);
  fields.Finish();
}

void ReadBackends(const Node& node, Config& out, Report& report, Report& warnings) {
  Fields fields(node, "backends", report);
  if (const Node* qemu = fields.Get("qemu")) {
    Fields section(*qemu, fields.Path("qemu"), report);
    ReadBackend(section, out.qemu);
    const auto accel = section.Choice("accel", {"auto", "kvm", "tcg"});
    if (accel == "kvm") out.qemu.accel = Accelerator::kKvm;
    if (accel == "tcg") out.qemu.accel = Accelerator::kTcg;
    section.Finish();
  }
  if (const Node* firecracker = fields.Get("firecracker")) {
    Fields section(*firecracker, fields.Path("firecracker"), report);
    ReadBackend(section, out.firecracker);
    if (const Node* mode = section.Get("privileged_mode")) {
      warnings.Add(*mode, section.Path("privileged_mode"),
                   "has no effect: no privilege is needed; remove it");
    }
    section.Finish();
  }
  if (const Node* darwin = fields.Get("darwin-vz")) {
    Fields section(*darwin, fields.Path("darwin-vz"), report);
    DarwinVz& vz = out.darwin_vz.emplace();
    ReadBackend(section, vz);
    TakeOptionalLine(section, "rootfs", vz.rootfs);
    section.Finish();
  }
  fields.Finish();
}

// "192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:5353"; the answer has its port, 53
// when there is none. Empty when it is none of these.
std::string NormalResolver(const std::string& text) {
  const bool bracketed = text.starts_with('[');
  const size_t colon = text.rfind(':');
  const bool has_port = bracketed ? colon != text.npos && colon > text.find(']')
                                  : colon != text.npos && text.find(':') == colon;
  std::string host = has_port ? text.substr(0, colon) : text;
  if (bracketed && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  int port = 53;
  if (has_port) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
    if (error != std::errc() || stop != end || port < 1 || port > 65535) return "";
  }
  const auto address = net::IpAddress::Parse(host);
  if (!address) return "";
  return net::Endpoint{*address, static_cast<uint16_t>(port)}.ToString();
}

void ReadNetwork(const Node& node, Network& out, Report& report) {
  constexpr size_t kMaxResolvers = 8;
  Fields section(node, "network", report);
  for (const std::string& text : section.Lines("resolvers", kMaxResolvers)) {
    out.resolvers.push_back(NormalResolver(text));
    if (!out.resolvers.back().empty()) continue;
    report.Add(*section.Get("resolvers"), section.Path("resolvers"),
               fmt::format("`{}` is not ADDRESS or ADDRESS:PORT of a DNS server", text));
  }
  section.Finish();
}

void ReadConfig(const Node& root, Config& out, Report& report, Report& warnings) {
  Fields fields(root, "", report);
  Take(fields.Choice("default_backend", {kBackends[0], kBackends[1], kBackends[2]}),
       out.default_backend);
  TakeOptionalLine(fields, "control_host", out.control_host);
  if (!out.control_host.empty()) {
    const auto endpoint = Endpoint::Parse(out.control_host);
    if (!endpoint)
      report.Add(*fields.Get("control_host"), "control_host", endpoint.error().message());
  }
  TakeOptionalLine(fields, "default_image", out.default_image);
  if (!out.default_image.empty()) {
    const auto ref = ImageRef::Parse(out.default_image);
    if (!ref) report.Add(*fields.Get("default_image"), "default_image", ref.error().message());
  }
  if (const Node* backends = fields.Get("backends")) ReadBackends(*backends, out, report, warnings);
  if (const Node* gateway = fields.Get("gateway")) ReadGateway(*gateway, out.gateway, report);
  if (const Node* network = fields.Get("network")) ReadNetwork(*network, out.network, report);
  if (const Node* cache = fields.Get("cache")) {
    Fields section(*cache, "cache", report);
    if (const Node* max = section.Get("max_bytes")) {
      constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
      const bool number = max->text.find_first_not_of("0123456789") == std::string::npos;
      out.cache.max_bytes = number ? ReadInteger(*max, section.Path("max_bytes"), 0, kMax, report)
                                   : ReadSize(*max, section.Path("max_bytes"), 0, kMax, report);
    }
    out.cache.peers = section.Lines("peers", kMaxEntries);
    section.Finish();
  }
  if (const Node* pool = fields.Get("pool")) {
    Fields section(*pool, "pool", report);
    Take(section.Integer("size", 0, 1024), out.pool.size);
    if (const auto mib = section.Integer("memory_mib", 0, kMaxPoolMib))
      out.pool.memory_mib = static_cast<int>(*mib);
    out.pool.hold = section.Boolean("hold");
    section.Finish();
  }
  if (const Node* auth = fields.Get("auth")) ReadAuth(*auth, out.auth, report);
  if (const Node* listeners = fields.Get("listeners")) {
    Fields section(*listeners, "listeners", report);
    Take(section.Integer("idle_seconds", 0, kMaxIdleSeconds), out.listeners.idle_seconds);
    Take(section.Integer("max_connections", 1, kMaxConnections), out.listeners.max_connections);
    section.Finish();
  }
  if (const Node* observability = fields.Get("observability")) {
    ReadObservability(*observability, out.observability, report);
  }
  if (const Node* retention = fields.Get("retention")) {
    Fields section(*retention, "retention", report);
    Take(section.Integer("audit_days", 1, 36500), out.audit_days);
    section.Finish();
  }
  fields.Finish({{"qemu", "backends.qemu"},
                 {"firecracker", "backends.firecracker"},
                 {"darwin-vz", "backends.darwin-vz"}});
}

constexpr std::string_view kInit =
    R"(# Runtime configuration of Cleanroom. What is commented out stands at its default.
# `cleanroom config validate` checks this file; a request's own value goes before what stands here.

default_backend: {}    # qemu, firecracker or darwin-vz (of a macOS host)

# What clients connect to: unix:///path, http://host:port or https://host:port.
# control_host: ""

# The image of `cleanroom sandbox create` without --image, as HOST/REPO[:TAG][@sha256:…].
# default_image: ""

# backends:
#   qemu:
#     binary_path: ""      # the one in PATH
#     kernel_image: ""     # the managed kernel
#     accel: auto          # auto, kvm or tcg; auto takes KVM where it really works
#     vcpus: 2
#     memory_mib: 1024
#     disk_mib: 8192
#     launch_seconds: 30
#     snapshots:
#       enabled: true
#   firecracker:
#     binary_path: ""
#     kernel_image: ""
#     vcpus: 2
#     memory_mib: 1024
#     disk_mib: 8192
#     launch_seconds: 30
#     snapshots:
#       enabled: true

# gateway:
#   listen: ""
#   credentials:           # by host; used on the way to that host, never inside a sandbox
#     git.example.com:
#       token_env: GIT_TOKEN       # or token_file: /path
#   git:
#     cache_hosts: []
#     http_hosts: []       # hosts whose repositories may be fetched by http://, unprotected on the way
#   oci:
#     registries: []
#   fetch:
#     hosts: []

# network:
#   resolvers: []          # DNS servers for sandboxes, ADDRESS or ADDRESS:PORT; those of /etc/resolv.conf

# cache:
#   max_bytes: 20GiB       # no limit when left out
#   peers: []

# pool:
#   size: 2                # restored machines kept ready for each image in use; 0: none
#   memory_mib: 4096       # what they, and one held to be forked, may take; 0: none is held; left out: an eighth of what is free
#   hold: true             # hold one for each image in use, where processors are emulated, for others to be forked from

# auth:
#   required: false
#   tokens:
#     - name: ci
#       token_file: /path

# listeners:               # connections to http and https listeners; the unix socket has no such limits
#   idle_seconds: 120      # without a request under way, until they are closed; 0: no limit
#   max_connections: 256   # at once, for each listener; more wait until one has ended

# observability:
#   logs:
#     format: text         # text or json
#   otlp: ""               # a collector's URL
#   metrics_listen: ""     # host:port

# retention:
#   audit_days: 90
)";

}  // namespace

std::string_view ToString(Accelerator accelerator) {
  switch (accelerator) {
    case Accelerator::kAuto:
      return "auto";
    case Accelerator::kKvm:
      return "kvm";
    case Accelerator::kTcg:
      return "tcg";
  }
  return "";
}

std::string_view ToString(LogFormat format) { return format == LogFormat::kJson ? "json" : "text"; }

std::expected<ParsedConfig, std::vector<document::Diagnostic>> Parse(std::string_view yaml,
                                                                     std::string_view file_name) {
  document::ReadResult document = document::ReadYaml(yaml, file_name);
  if (!document) {
    // A file of nothing but comments says nothing: the defaults.
    if (document.error().front().message == document::kEmptyDocument) return ParsedConfig{};
    return std::unexpected(std::move(document).error());
  }
  Report report(file_name);
  Report warnings(file_name);
  ParsedConfig out;
  if (!document->IsNull()) ReadConfig(*document, out.config, report, warnings);
  if (!report.empty()) return std::unexpected(std::move(report).Take());
  out.warnings = std::move(warnings).Take();
  return out;
}

Result<ParsedConfig> Load(const std::string& path) {
  CR_TRY_ASSIGN(const std::string text, document::ReadDocumentFile(path));
  auto parsed = Parse(text, path);
  if (parsed) return *std::move(parsed);
  return Err(Error(ErrorCode::kInvalidArgument, document::Format(parsed.error()))
                 .About(SubjectKind::kConfig, path));
}

Result<ParsedConfig> LoadOrDefault(const std::string& path) {
  Result<ParsedConfig> loaded = Load(path);
  if (!loaded && loaded.error().code() == ErrorCode::kNotFound) return ParsedConfig{};
  return loaded;
}

Result<std::string> InitText(std::string_view default_backend) {
  if (std::find(kBackends.begin(), kBackends.end(), default_backend) == kBackends.end()) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("backend `{}` is unknown; choose qemu, firecracker or darwin-vz",
                           default_backend));
  }
  std::string text(kInit);
  const size_t hole = text.find("{}");
  return text.replace(hole, 2, default_backend);
}

}  // namespace cleanroom::config
