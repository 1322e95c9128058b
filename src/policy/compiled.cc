#include "policy/compiled.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "base/sha256/sha256.h"
#include "document/bounded_json.h"
#include "policy/decode.h"
#include "policy/load.h"

namespace cleanroom::policy {
namespace {

using Json = nlohmann::json;  // objects keep their keys sorted

template <typename T>
void SortUnique(std::vector<T>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

// Rules sort by what they say; of equal ones the first written stays.
void Normalize(std::vector<AllowRule>& rules) {
  const auto key = [](const AllowRule& r) {
    return std::tie(r.target, r.protocol, r.ports, r.reason);
  };
  for (AllowRule& rule : rules) SortUnique(rule.ports);
  std::sort(rules.begin(), rules.end(), [&](const auto& a, const auto& b) {
    return std::pair(key(a), a.line) < std::pair(key(b), b.line);
  });
  rules.erase(std::unique(rules.begin(), rules.end(),
                          [&](const auto& a, const auto& b) { return key(a) == key(b); }),
              rules.end());
}

void Normalize(std::vector<DenyRule>& rules) {
  const auto key = [](const DenyRule& r) { return std::tie(r.target, r.reason); };
  std::sort(rules.begin(), rules.end(), [&](const auto& a, const auto& b) {
    return std::pair(key(a), a.line) < std::pair(key(b), b.line);
  });
  rules.erase(std::unique(rules.begin(), rules.end(),
                          [&](const auto& a, const auto& b) { return key(a) == key(b); }),
              rules.end());
}

void Normalize(std::vector<Block>& blocks) {
  for (Block& block : blocks) {
    SortUnique(block.input_files);
    SortUnique(block.output_dirs);
    SortUnique(block.output_files);
  }
}

void Normalize(Policy& policy) {
  Normalize(policy.network.allow);
  Normalize(policy.network.deny);
  for (auto& [stage, rules] : policy.network.stages) Normalize(rules);
  std::erase_if(policy.network.stages, [](const auto& entry) { return entry.second.empty(); });
  if (policy.repository) Normalize(policy.repository->allow);
  Normalize(policy.dependencies);
  Normalize(policy.services);
  for (auto& [ecosystem, registry] : policy.registries) {
    SortUnique(registry.allowed_hosts);
    if (registry.lockfile) SortUnique(registry.lockfile->files);
  }
  for (Secret& secret : policy.secrets) SortUnique(secret.allowed_hosts);
  std::sort(policy.secrets.begin(), policy.secrets.end(),
            [](const Secret& a, const Secret& b) { return a.id < b.id; });
  if (policy.expose_https) {
    for (HttpsRoute& route : policy.expose_https->routes) SortUnique(route.hosts);
    std::sort(policy.expose_https->routes.begin(), policy.expose_https->routes.end(),
              [](const auto& a, const auto& b) {
                return std::tie(a.port, a.hosts) < std::tie(b.port, b.hosts);
              });
  }
  if (policy.metadata_json == "{}") policy.metadata_json.clear();
}

// Encoding: the grammar of the file, defaults filled in, what is empty left out.

Json EncodeTarget(const Target& target, const std::string& reason) {
  Json out = Json::object();
  out[std::holds_alternative<net::Cidr>(target) ? "cidr" : "host"] = ToString(target);
  if (!reason.empty()) out["reason"] = reason;
  return out;
}

Json Encode(const std::vector<AllowRule>& rules) {
  Json out = Json::array();
  for (const AllowRule& rule : rules) {
    Json entry = EncodeTarget(rule.target, rule.reason);
    entry["ports"] = rule.ports;
    entry["protocol"] = ToString(rule.protocol);
    out.push_back(std::move(entry));
  }
  return out;
}

Json Encode(const std::vector<net::HostPattern>& hosts) {
  Json out = Json::array();
  for (const net::HostPattern& host : hosts) out.push_back(host.text());
  return out;
}

Json Encode(const Network& network) {
  Json out = {{"default", ToString(network.default_action)}};
  if (!network.allow.empty()) out["allow"] = Encode(network.allow);
  for (const auto& [stage, rules] : network.stages)
    out[std::string(ToString(stage))]["allow"] = Encode(rules);
  for (const DenyRule& rule : network.deny)
    out["deny"].push_back(EncodeTarget(rule.target, rule.reason));
  return out;
}

Json Encode(const std::vector<Block>& blocks) {
  Json out = Json::array();
  for (const Block& block : blocks) {
    Json entry = {{"name", block.name}, {"command", block.command}};
    if (!block.env.empty()) entry["env"] = block.env;
    if (!block.input_files.empty()) entry["inputs"]["files"] = block.input_files;
    if (!block.output_dirs.empty()) entry["outputs"]["dirs"] = block.output_dirs;
    if (!block.output_files.empty()) entry["outputs"]["files"] = block.output_files;
    out.push_back(std::move(entry));
  }
  return out;
}

Json EncodeSandbox(const Policy& policy) {
  Json out = {{"image", {{"ref", policy.image.ToString()}}},
              {"network", Encode(policy.network)},
              {"ttl_minutes", policy.ttl_minutes}};
  if (policy.resources.vcpus) out["resources"]["vcpus"] = *policy.resources.vcpus;
  if (policy.resources.memory_bytes)
    out["resources"]["memory"] = fmt::format("{}B", *policy.resources.memory_bytes);
  if (policy.resources.disk_bytes)
    out["resources"]["disk"] = fmt::format("{}B", *policy.resources.disk_bytes);
  if (policy.docker_required) out["docker"]["required"] = true;
  if (!policy.dependencies.empty()) out["dependencies"] = Encode(policy.dependencies);
  if (!policy.services.empty()) out["services"] = Encode(policy.services);
  if (!policy.run_before.empty()) out["run"]["before"] = policy.run_before;
  return out;
}

Json Encode(const Repository& repository) {
  Json out = {{"enabled", repository.enabled},
              {"path", repository.path},
              {"remote", repository.remote},
              {"submodules", repository.submodules}};
  if (!repository.allow.empty()) out["network"]["allow"] = Encode(repository.allow);
  return out;
}

Json Encode(const Registry& registry) {
  Json out = {{"allowed_hosts", Encode(registry.allowed_hosts)}, {"fallback", "deny"}};
  if (registry.lockfile) {
    out["lockfile"] = {{"mode", ToString(registry.lockfile->mode)},
                       {"files", registry.lockfile->files}};
  }
  return out;
}

Json Encode(const Secret& secret) {
  Json out = {{"id", secret.id},
              {"allowed_hosts", Encode(secret.allowed_hosts)},
              {"header", secret.header}};
  if (secret.ttl_seconds) out["ttl_seconds"] = *secret.ttl_seconds;
  return out;
}

Json Encode(const HttpsExposure& https) {
  Json out = {{"base", https.base}, {"routes", Json::array()}};
  for (const HttpsRoute& route : https.routes) {
    out["routes"].push_back({{"port", route.port}, {"hosts", route.hosts}});
  }
  return out;
}

Json Encode(const Policy& policy) {
  Json out = {{"version", 1}, {"hash", ""}, {"sandbox", EncodeSandbox(policy)}};
  if (policy.repository) out["repository"] = Encode(*policy.repository);
  for (const auto& [ecosystem, registry] : policy.registries) {
    out["registries"][std::string(ToString(ecosystem))] = Encode(registry);
  }
  for (const Secret& secret : policy.secrets) out["secrets"].push_back(Encode(secret));
  if (policy.expose_https) out["expose"]["https"] = Encode(*policy.expose_https);
  if (!policy.metadata_json.empty()) {
    out["metadata"] = document::ParseBoundedJson(policy.metadata_json);
  }
  return out;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

// Canonical JSON to a policy; nothing is said yet about the text being the canonical one.
Result<Policy> Decode(std::string_view json) {
  constexpr std::string_view kName = "policy";
  document::ReadResult document = document::ReadJson(json, kName);
  if (!document) return Err(ErrorCode::kPolicyInvalid, document::Format(document.error()));
  document::Report report(kName);
  Policy policy = DecodePolicy(*document, Dialect::kCanonical, report);
  if (!report.empty())
    return Err(ErrorCode::kPolicyInvalid, document::Format(std::move(report).Take()));
  return policy;
}

Result<ImageRef> PinnedImage(std::string_view ref, std::string_view digest) {
  Result<ImageRef> image = ImageRef::Parse(ref);
  if (image && !digest.empty()) {
    if (!image->digest.empty() && image->digest != digest) {
      return Err(ErrorCode::kPolicyInvalid,
                 fmt::format("image digest {} is not that of the reference {}",
                             digest.substr(0, 80), image->ToString()));
    }
    image->digest = digest;
    image = ImageRef::ParsePinned(image->ToString());
  } else if (image) {
    image = ImageRef::ParsePinned(ref);
  }
  if (!image) return Err(ErrorCode::kPolicyInvalid, image.error().message());
  return image;
}

}  // namespace

Result<CompiledPolicy> CompiledPolicy::Compile(Policy policy) {
  Normalize(policy);
  Json json = Encode(policy);
  const std::string unhashed = Dump(json);
  if (unhashed.size() > document::kMaxDocumentBytes - 64) {
    return Err(ErrorCode::kPolicyInvalid,
               fmt::format("the compiled policy has {} bytes; at most {} fit", unhashed.size(),
                           document::kMaxDocumentBytes - 64));
  }
  CR_TRY(Decode(unhashed));
  std::string hash = Sha256Hex(unhashed);
  json["hash"] = hash;
  return CompiledPolicy(std::move(policy), Dump(json), std::move(hash));
}

Result<CompiledPolicy> CompiledPolicy::FromCanonicalJson(std::string_view json) {
  CR_TRY_ASSIGN(Policy policy, Decode(json));
  policy.key_lines.clear();
  CR_TRY_ASSIGN(CompiledPolicy compiled, Compile(std::move(policy)));
  if (compiled.canonical_json_ != json) {
    return Err(ErrorCode::kPolicyInvalid,
               fmt::format("policy: not in canonical form, or its hash is not {}", compiled.hash_));
  }
  return compiled;
}

Result<CompiledPolicy> CompiledPolicy::WithImage(const ImageRef& image) const {
  Policy policy = spec_;
  policy.image = image;
  return Compile(std::move(policy));
}

Result<CompiledPolicy> LoadAndCompile(const std::string& path) {
  CR_TRY_ASSIGN(Policy policy, LoadPolicy(path));
  Result<CompiledPolicy> compiled = CompiledPolicy::Compile(std::move(policy));
  if (!compiled) return Err(std::move(compiled).error().Context(path));
  return compiled;
}

Result<CompiledPolicy> PolicyFromAllowlist(std::string_view ref, std::string_view digest,
                                           std::span<const AllowedHost> rules) {
  Policy policy;
  CR_TRY_ASSIGN(policy.image, PinnedImage(ref, digest));
  for (const AllowedHost& allowed : rules) {
    CR_TRY_ASSIGN(Target target, ParseHostTarget(allowed.host));
    AllowRule rule{.target = std::move(target), .reason = ""};
    if (!allowed.ports.empty()) rule.ports.clear();
    for (int port : allowed.ports) {
      if (port < 1 || port > 65535) {
        return Err(ErrorCode::kPolicyInvalid,
                   fmt::format("port {} of {} is out of range; write 1 to 65535", port,
                               ToString(rule.target)));
      }
      rule.ports.push_back(static_cast<uint16_t>(port));
    }
    policy.network.allow.push_back(std::move(rule));
  }
  return CompiledPolicy::Compile(std::move(policy));
}

Result<CompiledPolicy> PolicyForImage(std::string_view ref, NetworkDefault network, Docker docker) {
  Policy policy;
  CR_TRY_ASSIGN(policy.image, PinnedImage(ref, ""));
  policy.network.default_action = network;
  policy.docker_required = docker == Docker::kRequired;
  return CompiledPolicy::Compile(std::move(policy));
}

}  // namespace cleanroom::policy
