#include "policy/policy.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "policy/decode.h"

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

ParseResult Parse(std::string_view yaml, std::string_view file_name) {
  document::ReadResult document = document::ReadYaml(yaml, file_name);
  if (!document) return std::unexpected(std::move(document).error());
  document::Report report(file_name);
  Policy policy = DecodePolicy(*document, Dialect::kFile, report);
  if (!report.empty()) return std::unexpected(std::move(report).Take());
  return policy;
}

Result<PolicyFile> FindPolicyFile(const std::string& directory) {
  const std::filesystem::path root(directory);
  const std::string first = (root / "cleanroom.yaml").string();
  const std::string second = (root / ".buildkite" / "cleanroom.yaml").string();
  std::error_code ignored;
  const bool has_first = std::filesystem::is_regular_file(first, ignored);
  const bool has_second = std::filesystem::is_regular_file(second, ignored);
  if (has_first && has_second) {
    return PolicyFile{first, fmt::format("using {}; {} is ignored", first, second)};
  }
  if (has_first) return PolicyFile{first, ""};
  if (has_second) return PolicyFile{second, ""};
  return Err(ErrorCode::kNotFound,
             fmt::format("no policy: neither {} nor {} exists", first, second));
}

Result<Policy> LoadPolicy(const std::string& path) {
  CR_TRY_ASSIGN(const std::string text, document::ReadDocumentFile(path));
  ParseResult parsed = Parse(text, path);
  if (parsed) return *std::move(parsed);
  return Err(ErrorCode::kPolicyInvalid, document::Format(parsed.error()));
}

}  // namespace cleanroom::policy
