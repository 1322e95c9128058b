#include "doors/rules/decision.h"

namespace cleanroom::doors {

std::string_view ToString(Service service) {
  switch (service) {
    case Service::kDns:
      return "dns";
    case Service::kTcp:
      return "tcp";
    case Service::kUdp:
      return "udp";
    case Service::kGateway:
      return "gateway";
  }
  return "";
}

std::string_view ToString(Code code) {
  switch (code) {
    case Code::kAllowed:
      return "allowed";
    case Code::kAllowedAll:
      return "allowed_all";
    case Code::kHostNotAllowed:
      return "host_not_allowed";
    case Code::kPortNotAllowed:
      return "port_not_allowed";
    case Code::kDeniedByRule:
      return "denied_by_rule";
    case Code::kPrivateAddress:
      return "private_address";
    case Code::kAddressNotResolved:
      return "address_not_resolved";
    case Code::kNameMissing:
      return "name_missing";
    case Code::kNameMismatch:
      return "name_mismatch";
    case Code::kMalformed:
      return "malformed";
    case Code::kUnsupported:
      return "unsupported";
    case Code::kTunnelSuspected:
      return "tunnel_suspected";
    case Code::kLimitExceeded:
      return "limit_exceeded";
    case Code::kResolverFailed:
      return "resolver_failed";
    case Code::kUpstreamFailed:
      return "upstream_failed";
    case Code::kNoSuchRoute:
      return "no_such_route";
  }
  return "";
}

bool IsAllowed(Code code) { return code == Code::kAllowed || code == Code::kAllowedAll; }

std::string Decision::Destination() const {
  if (!host.empty()) return host;
  return address ? address->ToString() : "";
}

}  // namespace cleanroom::doors
