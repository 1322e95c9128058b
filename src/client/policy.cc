#include "client/policy.h"

#include "client/compiled_policy.h"

namespace cleanroom::client {

Result<v1::Policy> PolicyFromAllowlist(std::string_view ref, std::string_view digest,
                                       const std::vector<AllowedHost>& rules) {
  std::vector<policy::AllowedHost> allowed;
  allowed.reserve(rules.size());
  for (const AllowedHost& rule : rules) allowed.push_back({rule.host, rule.ports});
  CR_TRY_ASSIGN(const auto compiled, policy::PolicyFromAllowlist(ref, digest, allowed));
  return ToProto(compiled);
}

}  // namespace cleanroom::client
