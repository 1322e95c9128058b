#include "policy/policy.h"

namespace cleanroom::policy {

std::string_view ToString(Protocol protocol) { return protocol == Protocol::kUdp ? "udp" : "tcp"; }

std::string_view ToString(NetworkDefault action) {
  return action == NetworkDefault::kAllow ? "allow" : "deny";
}

std::string_view ToString(Stage stage) {
  switch (stage) {
    case Stage::kRepository:
      return "repository";
    case Stage::kDependencies:
      return "dependencies";
    case Stage::kServices:
      return "services";
    case Stage::kExecution:
      return "execution";
  }
  return "";
}

std::string_view ToString(Ecosystem ecosystem) {
  switch (ecosystem) {
    case Ecosystem::kNpm:
      return "npm";
    case Ecosystem::kPypi:
      return "pypi";
    case Ecosystem::kGo:
      return "go";
    case Ecosystem::kRubygems:
      return "rubygems";
    case Ecosystem::kOci:
      return "oci";
  }
  return "";
}

std::string_view ToString(LockfileMode mode) {
  switch (mode) {
    case LockfileMode::kDenyUnknown:
      return "deny_unknown";
    case LockfileMode::kWarn:
      return "warn";
    case LockfileMode::kOff:
      return "off";
  }
  return "";
}

std::string ToString(const Target& target) {
  if (const auto* host = std::get_if<net::HostPattern>(&target)) return host->text();
  return std::get<net::Cidr>(target).ToString();
}

Result<Target> ParseHostTarget(std::string_view text) {
  std::string_view address = text;
  if (address.starts_with('[') && address.ends_with(']')) {
    address = address.substr(1, address.size() - 2);
  }
  if (const auto ip = net::IpAddress::Parse(address)) return Target(net::Cidr::Single(*ip));
  CR_TRY_ASSIGN(net::HostPattern host, net::HostPattern::Parse(text));
  return Target(std::move(host));
}

}  // namespace cleanroom::policy
