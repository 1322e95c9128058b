#include "policy/decode.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "base/machine_limits.h"

namespace cleanroom::policy {
namespace {

constexpr int64_t kMib = 1LL << 20;
constexpr int kMaxTtlMinutes = 525'600;  // a year
constexpr int kMaxSecretTtl = 86'400;
constexpr size_t kMaxShort = 1024;

void DecodeResources(const document::Node& node, const std::string& path, Resources& out,
                     document::Report& report) {
  document::Fields fields(node, path, report);
  if (const auto vcpus = fields.Integer("vcpus", 1, kMaxVcpus))
    out.vcpus = static_cast<int>(*vcpus);
  out.memory_bytes = fields.Size("memory", kMinMemoryMib * kMib, kMaxMemoryMib * kMib);
  out.disk_bytes = fields.Size("disk", kMinDiskMib * kMib, kMaxDiskMib * kMib);
  fields.Finish();
}

bool DecodeDocker(const document::Node& node, const std::string& path, document::Report& report) {
  document::Fields fields(node, path, report);
  bool required = false;
  if (const document::Node* value = fields.Require("required", "write required: true or false")) {
    required = document::ReadBoolean(*value, fields.Path("required"), report).value_or(false);
  }
  fields.Finish();
  return required;
}

void DecodeImage(const document::Node& node, const std::string& path, ImageRef& out,
                 document::Report& report) {
  document::Fields fields(node, path, report);
  if (const document::Node* ref =
          fields.Require("ref", "name an image by digest, as HOST/REPO@sha256:…")) {
    if (const auto text = document::ReadLine(*ref, fields.Path("ref"), kMaxShort, report)) {
      Result<ImageRef> parsed = ImageRef::ParsePinned(*text);
      if (parsed) {
        out = *std::move(parsed);
      } else {
        report.Add(*ref, fields.Path("ref"), parsed.error().message());
      }
    }
  }
  fields.Finish();
}

void DecodeSandbox(const document::Node& node, Dialect dialect, Policy& policy,
                   document::Report& report) {
  document::Fields fields(node, "sandbox", report);
  const auto get = [&](std::string_view key) {
    const document::Node* value = fields.Get(key);
    if (value != nullptr) policy.key_lines[fields.Path(key)] = fields.LineOf(key);
    return value;
  };
  if (const document::Node* image =
          fields.Require("image", "write image: { ref: HOST/REPO@sha256:… }")) {
    DecodeImage(*image, fields.Path("image"), policy.image, report);
  }
  if (const document::Node* resources = get("resources")) {
    DecodeResources(*resources, fields.Path("resources"), policy.resources, report);
  }
  get("ttl_minutes");
  if (const auto ttl = fields.Integer("ttl_minutes", 1, kMaxTtlMinutes)) {
    policy.ttl_minutes = static_cast<int>(*ttl);
  }
  const document::Node* docker = get("docker");
  if (docker != nullptr) policy.docker_required = DecodeDocker(*docker, "sandbox.docker", report);
  if (const document::Node* network = get("network")) {
    policy.network = DecodeNetwork(*network, fields.Path("network"), dialect, report);
  }

  const document::Node* dependencies = get("dependencies");
  if (dependencies != nullptr) {
    policy.dependencies = DecodeBlocks(*dependencies, fields.Path("dependencies"), report);
  }
  // A list is the setup blocks; a map is the earlier spelling of sandbox.docker.
  const document::Node* services = get("services");
  const document::Node* service_blocks = nullptr;
  if (services != nullptr && services->kind == document::Node::Kind::kMap) {
    document::Fields older(*services, fields.Path("services"), report);
    if (const document::Node* value =
            older.Require("docker", "blocks are a list: services: [ { name, command } ]")) {
      policy.key_lines["sandbox.docker"] = older.LineOf("docker");
      policy.docker_required = DecodeDocker(*value, older.Path("docker"), report);
      if (docker != nullptr) {
        report.Add(
            *value, older.Path("docker"),
            fmt::format(
                "is the earlier spelling of `sandbox.docker`, which stands on line {}; keep one",
                fields.LineOf("docker")));
      }
    }
    older.Finish();
  } else if (services != nullptr) {
    service_blocks = services;
    policy.services = DecodeBlocks(*services, fields.Path("services"), report);
  }
  CheckOutputs(policy, dependencies, service_blocks, report);

  if (const document::Node* run = get("run")) {
    document::Fields run_fields(*run, fields.Path("run"), report);
    if (const document::Node* before =
            run_fields.Require("before", "write the shell command to run")) {
      policy.run_before =
          document::ReadText(*before, run_fields.Path("before"), report).value_or("");
      policy.key_lines["sandbox.run.before"] = run_fields.LineOf("before");
    }
    run_fields.Finish();
  }
  fields.Finish({{"repository", "repository"},
                 {"registries", "registries"},
                 {"secrets", "secrets"},
                 {"expose", "expose"},
                 {"metadata", "metadata"},
                 {"allow", "sandbox.network.allow"},
                 {"vcpus", "sandbox.resources.vcpus"},
                 {"memory", "sandbox.resources.memory"},
                 {"disk", "sandbox.resources.disk"}});
}

void DecodeRepository(const document::Node& node, Repository& out, document::Report& report) {
  document::Fields fields(node, "repository", report);
  if (const auto enabled = fields.Boolean("enabled")) out.enabled = *enabled;
  if (const document::Node* remote = fields.Get("remote")) {
    if (const auto text = document::ReadLine(*remote, fields.Path("remote"), kMaxShort, report)) {
      out.remote = *text;
      // The name becomes an argument of git.
      if (!IsBlockName(*text)) {
        report.Add(*remote, fields.Path("remote"),
                   fmt::format("{} is not the name of a git remote", remote->Describe()));
      }
    }
  }
  if (const document::Node* path = fields.Get("path")) {
    if (const auto text = document::ReadLine(*path, fields.Path("path"), kMaxShort, report)) {
      std::string why;
      const std::string normal = NormalizePath(*text, why);
      if (!normal.starts_with('/') || normal == "/") {
        report.Add(
            *path, fields.Path("path"),
            why.empty() ? fmt::format("`{}` must be an absolute path below `/`", *text) : why);
      } else {
        out.path = normal;
      }
    }
  }
  if (const auto submodules = fields.Boolean("submodules")) out.submodules = *submodules;
  if (const document::Node* network = fields.Get("network")) {
    document::Fields rules(*network, fields.Path("network"), report);
    if (const document::Node* allow = rules.Get("allow"))
      out.allow = DecodeAllow(*allow, rules.Path("allow"), report);
    rules.Finish();
  }
  fields.Finish();
}

void DecodeRegistries(const document::Node& node, std::map<Ecosystem, Registry>& out,
                      document::Report& report) {
  document::Fields fields(node, "registries", report);
  for (Ecosystem ecosystem :
       {Ecosystem::kNpm, Ecosystem::kPypi, Ecosystem::kGo, Ecosystem::kRubygems, Ecosystem::kOci}) {
    const document::Node* written = fields.Get(ToString(ecosystem));
    if (written == nullptr) continue;
    document::Fields entry(*written, fields.Path(ToString(ecosystem)), report);
    Registry& registry = out[ecosystem];
    if (const document::Node* hosts = entry.Get("allowed_hosts")) {
      registry.allowed_hosts = DecodeHosts(*hosts, entry.Path("allowed_hosts"), report);
    }
    entry.Choice("fallback", {"deny"});
    if (const document::Node* lockfile = entry.Get("lockfile")) {
      document::Fields lock(*lockfile, entry.Path("lockfile"), report);
      registry.lockfile.emplace();
      const auto mode = lock.Choice("mode", {"deny_unknown", "warn", "off"});
      if (mode == "warn") registry.lockfile->mode = LockfileMode::kWarn;
      if (mode == "off") registry.lockfile->mode = LockfileMode::kOff;
      size_t index = 0;
      if (const document::Node* files = lock.Get("files")) {
        for (const document::Node& file :
             document::ReadList(*files, lock.Path("files"), kMaxPaths, report)) {
          const std::string here = fmt::format("{}[{}]", lock.Path("files"), index++);
          const auto text = document::ReadLine(file, here, kMaxShort, report);
          if (!text) continue;
          std::string why;
          const std::string normal = NormalizePath(*text, why);
          if (normal.empty() || normal.starts_with('/')) {
            report.Add(
                file, here,
                why.empty() ? fmt::format("`{}` must be relative to the repository", *text) : why);
          } else {
            registry.lockfile->files.push_back(normal);
          }
        }
      }
      lock.Finish();
    }
    entry.Finish();
  }
  fields.Finish();
}

// RFC 9110 token.
bool IsHeaderName(std::string_view name) {
  static constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return name.size() <= 128 && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  kMarks.find(c) != kMarks.npos;
         });
}

void DecodeSecrets(const document::Node& node, std::vector<Secret>& out, document::Report& report) {
  std::set<std::string> ids;
  size_t index = 0;
  for (const document::Node& item : document::ReadList(node, "secrets", kMaxEntries, report)) {
    document::Fields fields(item, fmt::format("secrets[{}]", index++), report);
    Secret secret;
    if (const document::Node* id =
            fields.Require("id", "name the credential that the host holds")) {
      secret.id = document::ReadLine(*id, fields.Path("id"), kMaxShort, report).value_or("");
      if (!secret.id.empty() && !IsBlockName(secret.id)) {
        report.Add(*id, fields.Path("id"),
                   "is not an id: up to 64 letters, digits, `_`, `.` and `-`, beginning with a "
                   "letter or digit");
      } else if (!secret.id.empty() && !ids.insert(secret.id).second) {
        report.Add(*id, fields.Path("id"), fmt::format("another secret is called `{}`", secret.id));
      }
    }
    if (const document::Node* hosts =
            fields.Require("allowed_hosts", "name the hosts that may receive it")) {
      secret.allowed_hosts = DecodeHosts(*hosts, fields.Path("allowed_hosts"), report);
      if (hosts->kind == document::Node::Kind::kList && hosts->items.empty()) {
        report.Add(*hosts, fields.Path("allowed_hosts"),
                   "is empty; name the hosts that may receive it");
      }
    }
    if (const document::Node* header = fields.Get("header")) {
      if (const auto text = document::ReadLine(*header, fields.Path("header"), kMaxShort, report)) {
        secret.header = *text;
        if (!IsHeaderName(*text)) {
          report.Add(*header, fields.Path("header"),
                     fmt::format("{} is not the name of an HTTP header", header->Describe()));
        }
      }
    }
    if (const auto ttl = fields.Integer("ttl_seconds", 1, kMaxSecretTtl)) {
      secret.ttl_seconds = static_cast<int>(*ttl);
    }
    fields.Finish({{"value", "the host's own configuration: a policy holds ids, never values"}});
    out.push_back(std::move(secret));
  }
}

// A host name in which `{sandbox_id}` stands for the id.
std::optional<std::string> DecodeTemplate(const document::Node& node, const std::string& path,
                                          document::Report& report) {
  constexpr std::string_view kHole = "{sandbox_id}";
  constexpr std::string_view kSample = "00000000000000000000000000";
  auto text = document::ReadLine(node, path, kMaxShort, report);
  if (!text) return std::nullopt;
  std::string sample = *text;
  for (size_t at = 0; (at = sample.find(kHole, at)) != sample.npos; at += kSample.size()) {
    sample.replace(at, kHole.size(), kSample);
  }
  Result<std::string> host = net::NormalizeHost(sample);
  if (!host) {
    report.Add(node, path,
               fmt::format("`{}` is not a host name with an optional {{sandbox_id}}",
                           text->substr(0, 80)));
    return std::nullopt;
  }
  // The normal form, unless mapping would have changed the hole itself.
  if (text->find(kHole) == std::string::npos) return std::move(*host);
  return text;
}

void DecodeHttps(const document::Node& node, HttpsExposure& out, document::Report& report) {
  document::Fields fields(node, "expose.https", report);
  if (const document::Node* base = fields.Get("base")) {
    if (auto text = DecodeTemplate(*base, fields.Path("base"), report)) out.base = *text;
  }
  std::set<std::string> seen;
  const document::Node* routes = fields.Get("routes");
  size_t index = 0;
  static const std::vector<document::Node> kNone;
  for (const document::Node& item :
       routes == nullptr
           ? kNone
           : document::ReadList(*routes, fields.Path("routes"), kMaxEntries, report)) {
    document::Fields entry(item, fmt::format("{}[{}]", fields.Path("routes"), index++), report);
    HttpsRoute route;
    if (const document::Node* port = entry.Require("port", "name the port in the sandbox")) {
      route.port = static_cast<uint16_t>(
          document::ReadInteger(*port, entry.Path("port"), 1, 65535, report).value_or(0));
    }
    size_t host_index = 0;
    if (const document::Node* hosts = entry.Get("hosts")) {
      for (const document::Node& host :
           document::ReadList(*hosts, entry.Path("hosts"), kMaxEntries, report)) {
        const std::string here = fmt::format("{}[{}]", entry.Path("hosts"), host_index++);
        const auto text = DecodeTemplate(host, here, report);
        if (!text) continue;
        if (!seen.insert(*text).second) {
          report.Add(host, here,
                     fmt::format("`{}` is routed twice; a host leads to one port", *text));
        }
        route.hosts.push_back(*text);
      }
    }
    entry.Finish();
    out.routes.push_back(std::move(route));
  }
  fields.Finish();
}

// Free-form: whole numbers, true, false and null keep their type, everything else is text as
// written.
nlohmann::json ToJson(const document::Node& node) {
  if (node.kind == document::Node::Kind::kList) {
    nlohmann::json list = nlohmann::json::array();
    for (const document::Node& item : node.items) list.push_back(ToJson(item));
    return list;
  }
  if (node.kind == document::Node::Kind::kMap) {
    nlohmann::json map = nlohmann::json::object();
    for (const auto& [key, value] : node.entries) map[key.text] = ToJson(value);
    return map;
  }
  if (!node.plain) return node.text;
  if (node.IsNull()) return nullptr;
  if (node.text == "true") return true;
  if (node.text == "false") return false;
  int64_t number = 0;
  const char* end = node.text.data() + node.text.size();
  const auto [stop, error] = std::from_chars(node.text.data(), end, number);
  if (error == std::errc() && stop == end) return number;
  return node.text;
}

}  // namespace

Policy DecodePolicy(const document::Node& root, Dialect dialect, document::Report& report) {
  Policy policy;
  document::Fields fields(root, "", report);
  const auto get = [&](std::string_view key) {
    const document::Node* value = fields.Get(key);
    if (value != nullptr) policy.key_lines[std::string(key)] = fields.LineOf(key);
    return value;
  };
  if (dialect == Dialect::kCanonical) fields.Get("hash");
  if (const document::Node* version = fields.Require("version", "write version: 1")) {
    document::ReadInteger(*version, "version", 1, 1, report);
  }
  if (const document::Node* repository = get("repository")) {
    DecodeRepository(*repository, policy.repository.emplace(), report);
  }
  if (const document::Node* sandbox =
          fields.Require("sandbox", "write sandbox: { image: { ref: HOST/REPO@sha256:… } }")) {
    DecodeSandbox(*sandbox, dialect, policy, report);
  }
  if (const document::Node* registries = get("registries"))
    DecodeRegistries(*registries, policy.registries, report);
  if (const document::Node* secrets = get("secrets"))
    DecodeSecrets(*secrets, policy.secrets, report);
  if (const document::Node* expose = get("expose")) {
    document::Fields exposed(*expose, "expose", report);
    if (const document::Node* https = exposed.Get("https")) {
      policy.key_lines["expose.https"] = exposed.LineOf("https");
      DecodeHttps(*https, policy.expose_https.emplace(), report);
    }
    exposed.Finish();
  }
  if (const document::Node* metadata = get("metadata")) {
    if (metadata->kind == document::Node::Kind::kMap) {
      policy.metadata_json = ToJson(*metadata).dump();
    } else {
      report.Add(*metadata, "metadata",
                 fmt::format("expected a map, found {}", metadata->Describe()));
    }
  }
  fields.Finish({{"image", "sandbox.image"},
                 {"resources", "sandbox.resources"},
                 {"ttl_minutes", "sandbox.ttl_minutes"},
                 {"docker", "sandbox.docker"},
                 {"network", "sandbox.network"},
                 {"dependencies", "sandbox.dependencies"},
                 {"services", "sandbox.services"},
                 {"run", "sandbox.run"}});
  return policy;
}

}  // namespace cleanroom::policy
