#include "client/compiled_policy.h"

#include <string>
#include <variant>

namespace cleanroom::client {

v1::Policy ToProto(const policy::CompiledPolicy& compiled) {
  const policy::Policy& spec = compiled.spec();
  v1::Policy proto;
  proto.set_version(1);
  proto.set_image_ref(spec.image.ToString());
  proto.set_image_digest(spec.image.digest);
  proto.set_network_default(std::string(policy::ToString(spec.network.default_action)));
  for (const policy::AllowRule& rule : spec.network.allow) {
    if (!std::holds_alternative<net::HostPattern>(rule.target) ||
        rule.protocol != policy::Protocol::kTcp)
      continue;
    v1::PolicyAllowRule* allow = proto.add_allow();
    allow->set_host(policy::ToString(rule.target));
    for (const uint16_t port : rule.ports) allow->add_ports(port);
  }
  if (spec.docker_required) proto.mutable_services()->mutable_docker()->set_required(true);
  proto.set_hash(compiled.hash());
  proto.set_canonical_json(compiled.CanonicalJson());
  return proto;
}

}  // namespace cleanroom::client
