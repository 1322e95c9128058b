// sandbox.network, and the other places that hold rules or hosts.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "policy/decode.h"

namespace cleanroom::policy {
namespace {

constexpr size_t kMaxReason = 512;
constexpr size_t kMaxHostText = 1024;

// What most often stands in a host and does not belong there.
std::string HostRemedy(std::string_view text) {
  if (text.find("://") != text.npos) return "; write the host alone, without a scheme or path";
  if (text.find('/') != text.npos) return "; for an address block use `cidr`";
  if (text.find(':') != text.npos) return "; write ports in `ports`";
  return "";
}

std::optional<Target> DecodeHostText(const document::Node& node, std::string_view text,
                                     std::string_view path, document::Report& report) {
  Result<Target> target = ParseHostTarget(text);
  if (target) return *std::move(target);
  report.Add(node, path, target.error().message() + HostRemedy(text));
  return std::nullopt;
}

// `host` or `cidr` of a rule written as a map.
std::optional<Target> DecodeTarget(document::Fields& fields) {
  const document::Node* host = fields.Get("host");
  const document::Node* cidr = fields.Get("cidr");
  document::Report& report = fields.report();
  if (host != nullptr && cidr != nullptr) {
    report.Add(*cidr, fields.Path("cidr"), "`host` and `cidr` exclude each other; write two rules");
    return std::nullopt;
  }
  if (host != nullptr) {
    const auto text = document::ReadLine(*host, fields.Path("host"), kMaxHostText, report);
    if (!text) return std::nullopt;
    return DecodeHostText(*host, *text, fields.Path("host"), report);
  }
  if (cidr != nullptr) {
    const auto text = document::ReadLine(*cidr, fields.Path("cidr"), kMaxHostText, report);
    if (!text) return std::nullopt;
    Result<net::Cidr> block = net::Cidr::Parse(*text);
    if (block) return *block;
    report.Add(*cidr, fields.Path("cidr"), block.error().message());
    return std::nullopt;
  }
  if (fields.node().kind == document::Node::Kind::kMap) {
    report.Add(fields.node(), fields.Path("host"), "is missing; name a `host` or a `cidr`");
  }
  return std::nullopt;
}

std::optional<std::vector<uint16_t>> DecodePorts(const document::Node& node,
                                                 const std::string& path,
                                                 document::Report& report) {
  std::vector<uint16_t> ports;
  if (node.kind == document::Node::Kind::kList && node.items.empty()) {
    report.Add(node, path, "is empty; name a port, or leave `ports` out for 80 and 443");
    return std::nullopt;
  }
  size_t index = 0;
  for (const document::Node& item : document::ReadList(node, path, kMaxPorts, report)) {
    const auto port =
        document::ReadInteger(item, fmt::format("{}[{}]", path, index++), 1, 65535, report);
    if (port) ports.push_back(static_cast<uint16_t>(*port));
  }
  std::sort(ports.begin(), ports.end());
  ports.erase(std::unique(ports.begin(), ports.end()), ports.end());
  if (ports.empty()) return std::nullopt;
  return ports;
}

// The scalar form: `host`, `host:port`, `address:port` or `[address]:port`.
std::optional<AllowRule> DecodeScalarRule(const document::Node& node, const std::string& path,
                                          document::Report& report) {
  const auto text = document::ReadLine(node, path, kMaxHostText, report);
  if (!text) return std::nullopt;
  std::string_view host = *text;
  std::optional<uint16_t> port;
  const size_t colon = host.rfind(':');
  const bool bare_v6 = net::IpAddress::Parse(host).has_value();
  if (colon != host.npos && !bare_v6 && !host.ends_with(']') && host.find("://") == host.npos) {
    const std::string_view digits = host.substr(colon + 1);
    int value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value < 1 ||
        value > 65535) {
      report.Add(node, path,
                 fmt::format("`{}` is no port; write host:port with a port of 1 to 65535",
                             digits.substr(0, 32)));
      return std::nullopt;
    }
    port = static_cast<uint16_t>(value);
    host = host.substr(0, colon);
  }
  std::optional<Target> target = DecodeHostText(node, host, path, report);
  if (!target) return std::nullopt;
  AllowRule rule{.target = *std::move(target), .reason = "", .line = node.line};
  if (port) rule.ports = {*port};
  return rule;
}

std::optional<AllowRule> DecodeAllowRule(const document::Node& node, const std::string& path,
                                         document::Report& report) {
  if (node.kind == document::Node::Kind::kScalar) return DecodeScalarRule(node, path, report);
  document::Fields fields(node, path, report);
  std::optional<Target> target = DecodeTarget(fields);
  std::optional<std::vector<uint16_t>> ports;
  if (const document::Node* written = fields.Get("ports")) {
    ports = DecodePorts(*written, fields.Path("ports"), report);
  }
  const auto protocol = fields.Choice("protocol", {"tcp", "udp"});
  const auto reason = fields.Line("reason", kMaxReason);
  fields.Finish();
  if (!target) return std::nullopt;
  AllowRule rule{.target = *std::move(target), .reason = "", .line = node.line};
  if (ports) rule.ports = *std::move(ports);
  if (protocol == "udp") rule.protocol = Protocol::kUdp;
  rule.reason = reason.value_or("");
  return rule;
}

std::optional<DenyRule> DecodeDenyRule(const document::Node& node, const std::string& path,
                                       document::Report& report) {
  if (node.kind == document::Node::Kind::kScalar) {
    report.Add(node, path,
               fmt::format("expected {{ host: … }} or {{ cidr: … }}, found {}", node.Describe()));
    return std::nullopt;
  }
  document::Fields fields(node, path, report);
  std::optional<Target> target = DecodeTarget(fields);
  const auto reason = fields.Line("reason", kMaxReason);
  fields.Finish({{"ports", "sandbox.network.allow: a deny rule covers every port"},
                 {"protocol", "sandbox.network.allow: a deny rule covers every protocol"}});
  if (!target) return std::nullopt;
  return DenyRule{*std::move(target), reason.value_or(""), node.line};
}

}  // namespace

std::vector<AllowRule> DecodeAllow(const document::Node& node, const std::string& path,
                                   document::Report& report) {
  std::vector<AllowRule> rules;
  size_t index = 0;
  for (const document::Node& item : document::ReadList(node, path, kMaxRules, report)) {
    auto rule = DecodeAllowRule(item, fmt::format("{}[{}]", path, index++), report);
    if (rule) rules.push_back(*std::move(rule));
  }
  return rules;
}

std::vector<net::HostPattern> DecodeHosts(const document::Node& node, const std::string& path,
                                          document::Report& report) {
  std::vector<net::HostPattern> hosts;
  size_t index = 0;
  for (const document::Node& item : document::ReadList(node, path, kMaxEntries, report)) {
    const std::string here = fmt::format("{}[{}]", path, index++);
    const auto text = document::ReadLine(item, here, kMaxHostText, report);
    if (!text) continue;
    Result<net::HostPattern> host = net::HostPattern::Parse(*text);
    if (host) {
      hosts.push_back(*std::move(host));
    } else {
      report.Add(item, here, host.error().message());
    }
  }
  return hosts;
}

Network DecodeNetwork(const document::Node& node, const std::string& path, Dialect dialect,
                      document::Report& report) {
  Network network;
  document::Fields fields(node, path, report);
  if (const document::Node* action = fields.Get("default")) {
    if (action->kind == document::Node::Kind::kScalar && action->text == "allow" &&
        dialect == Dialect::kCanonical) {
      network.default_action = NetworkDefault::kAllow;
    } else if (action->kind != document::Node::Kind::kScalar || action->text != "deny") {
      report.Add(*action, fields.Path("default"),
                 fmt::format("expected deny, found {}; a file cannot open the network (the flag "
                             "--dangerously-allow-all can)",
                             action->Describe()));
    }
  }
  const document::Node* allow = fields.Get("allow");
  if (allow != nullptr) network.allow = DecodeAllow(*allow, fields.Path("allow"), report);
  if (const document::Node* deny = fields.Get("deny")) {
    size_t index = 0;
    for (const document::Node& item :
         document::ReadList(*deny, fields.Path("deny"), kMaxRules, report)) {
      auto rule = DecodeDenyRule(item, fmt::format("{}[{}]", fields.Path("deny"), index++), report);
      if (rule) network.deny.push_back(*std::move(rule));
    }
  }
  for (Stage stage : {Stage::kDependencies, Stage::kServices, Stage::kExecution}) {
    const document::Node* written = fields.Get(ToString(stage));
    if (written == nullptr) continue;
    if (allow != nullptr) {
      report.Add(
          *written, fields.Path(ToString(stage)),
          fmt::format("a stage's list cannot be mixed with `{}` (line {}); move those rules into "
                      "the stages that need them",
                      fields.Path("allow"), fields.LineOf("allow")));
    }
    document::Fields scoped(*written, fields.Path(ToString(stage)), report);
    if (const document::Node* rules = scoped.Require("allow", "write allow: [] for none")) {
      network.stages[stage] = DecodeAllow(*rules, scoped.Path("allow"), report);
    }
    scoped.Finish();
  }
  fields.Finish();
  return network;
}

}  // namespace cleanroom::policy
