#include "server/launch/policy_gate.h"

#include <fmt/format.h>

#include <vector>

#include "policy/capability.h"

namespace cleanroom::server {
namespace {

constexpr int64_t kMib = 1 << 20;
// Of one rule and of one policy; what the policy module allows is less or the same, this bounds the
// work before it.
constexpr int kMaxRules = 4096;

Result<policy::CompiledPolicy> FromFields(const ::cleanroom::v1::Policy& message) {
  if (message.version() != 0 && message.version() != 1) {
    return Err(ErrorCode::kPolicyInvalid,
               fmt::format("policy version {} is not known here; this daemon knows version 1",
                           message.version()));
  }
  if (message.image_ref().empty()) {
    return Err(ErrorCode::kPolicyInvalid,
               "the policy names no image: image_ref must be HOST/REPO@sha256:DIGEST");
  }
  if (message.allow_size() > kMaxRules) {
    return Err(ErrorCode::kPolicyInvalid, fmt::format("the policy has {} allow rules, more than {}",
                                                      message.allow_size(), kMaxRules));
  }
  std::vector<policy::AllowedHost> rules;
  for (const auto& rule : message.allow()) {
    policy::AllowedHost allowed;
    allowed.host = rule.host();
    for (const int32_t port : rule.ports()) allowed.ports.push_back(port);
    rules.push_back(std::move(allowed));
  }
  CR_TRY_ASSIGN(auto compiled,
                policy::PolicyFromAllowlist(message.image_ref(), message.image_digest(), rules));
  policy::Policy spec = compiled.spec();
  spec.docker_required = message.services().docker().required();
  if (message.network_default() == "allow") {
    spec.network.default_action = policy::NetworkDefault::kAllow;
  } else if (!message.network_default().empty() && message.network_default() != "deny") {
    return Err(ErrorCode::kPolicyInvalid,
               fmt::format("network_default must be \"deny\", not \"{}\"",
                           message.network_default().substr(0, 64)));
  }
  return policy::CompiledPolicy::Compile(std::move(spec));
}

}  // namespace

Result<policy::CompiledPolicy> PolicyFromMessage(const ::cleanroom::v1::Policy& message) {
  auto compiled = message.canonical_json().empty()
                      ? FromFields(message)
                      : policy::CompiledPolicy::FromCanonicalJson(message.canonical_json());
  if (!compiled) {
    if (compiled.error().code() == ErrorCode::kPolicyInvalid) return compiled;
    return Err(ErrorCode::kPolicyInvalid, compiled.error().message());
  }
  if (!message.hash().empty() && message.hash() != compiled->hash()) {
    return Err(ErrorCode::kPolicyInvalid,
               fmt::format("the policy came with the hash {} but has the hash {}: it was changed "
                           "after it was compiled",
                           message.hash().substr(0, 64), compiled->hash()));
  }
  return compiled;
}

Result<void> CheckEnforceable(const policy::CompiledPolicy& policy,
                              const std::set<std::string>& capabilities) {
  const auto mismatches = policy::Unenforceable(policy, capabilities);
  if (mismatches.empty()) return {};
  return Err(policy::ToError(mismatches));
}

Wishes FloorsOf(const policy::CompiledPolicy& policy) {
  const policy::Resources& resources = policy.spec().resources;
  Wishes floors;
  floors.vcpus = resources.vcpus.value_or(0);
  floors.memory_mib = (resources.memory_bytes.value_or(0) + kMib - 1) / kMib;
  floors.disk_mib = (resources.disk_bytes.value_or(0) + kMib - 1) / kMib;
  return floors;
}

}  // namespace cleanroom::server
