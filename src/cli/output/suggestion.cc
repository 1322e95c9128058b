#include "cli/output/suggestion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>

#include "cli/output/text.h"
#include "net/ip_address.h"
#include "policy/suggested_rule.h"

namespace cleanroom::cli {
namespace {

bool IsLinkLocal(const policy::SuggestedRule& rule) {
  if (rule.kind != policy::SuggestedRule::Kind::kCidr) return false;
  const auto wanted = net::Cidr::Parse(rule.target);
  static const std::array kBlocks = {net::Cidr::Parse("169.254.0.0/16").value(),
                                     net::Cidr::Parse("fe80::/10").value()};
  return wanted && std::ranges::any_of(kBlocks, [&](const net::Cidr& block) {
           return block.Contains(wanted->base());
         });
}

// Nothing when there is none, or none that a door makes: the daemon has checked that, and what
// becomes part of a policy is looked at twice.
std::optional<policy::SuggestedRule> RuleOf(const v1::NetworkDecision& decision) {
  using policy::SuggestedRule;
  if (!decision.has_rule()) return std::nullopt;
  const v1::SuggestedRule& said = decision.rule();
  SuggestedRule rule;
  rule.kind = said.has_cidr() ? SuggestedRule::Kind::kCidr : SuggestedRule::Kind::kHost;
  rule.target = said.has_cidr() ? said.cidr() : said.host();
  for (const int32_t port : said.ports()) {
    if (port < 1 || port > std::numeric_limits<uint16_t>::max()) return std::nullopt;
    rule.ports.push_back(static_cast<uint16_t>(port));
  }
  const bool udp = said.protocol() == policy::ToString(policy::Protocol::kUdp);
  rule.protocol = udp ? policy::Protocol::kUdp : policy::Protocol::kTcp;
  if (!policy::IsWellFormed(rule)) return std::nullopt;
  return rule;
}

void AddPorts(policy::SuggestedRule& rule, const std::vector<uint16_t>& ports) {
  rule.ports.insert(rule.ports.end(), ports.begin(), ports.end());
  std::ranges::sort(rule.ports);
  const auto doubled = std::ranges::unique(rule.ports);
  rule.ports.erase(doubled.begin(), doubled.end());
}

std::string Other(const v1::NetworkDecision& decision) {
  std::string line = fmt::format("{} ({})", DescribeDestination(decision), decision.reason_code());
  if (!decision.message().empty()) line += ": " + decision.message();
  return Printable(line);
}

}  // namespace

std::string DescribeDestination(const v1::NetworkDecision& decision) {
  const bool v6 = decision.destination().find(':') != std::string::npos;
  std::string text = decision.service() + " ";
  text += v6 && decision.port() > 0 ? "[" + decision.destination() + "]" : decision.destination();
  if (decision.port() > 0) text += fmt::format(":{}", decision.port());
  return text;
}

Suggestion Suggest(const std::vector<v1::NetworkDecision>& decisions) {
  using Key = std::tuple<policy::SuggestedRule::Kind, std::string, policy::Protocol>;
  std::map<Key, SuggestedLine> lines;
  std::set<std::string> others;
  std::set<std::string> unchecked;
  for (const v1::NetworkDecision& decision : decisions) {
    if (decision.allowed() || decision.reason_code().empty()) continue;
    const auto rule = RuleOf(decision);
    if (!rule) {
      if (decision.has_rule() || decision.suggestion().empty()) {
        others.insert(Other(decision));
      } else {
        unchecked.insert(Printable(decision.suggestion()));
      }
      continue;
    }
    const bool guessed = decision.port() == 0;
    auto [place, fresh] = lines.try_emplace({rule->kind, rule->target, rule->protocol});
    SuggestedLine& line = place->second;
    if (fresh) {
      line.rule = *rule;
      line.port_guessed = guessed;
      line.link_local = IsLinkLocal(*rule);
    } else if (!guessed) {
      if (line.port_guessed) line.rule.ports.clear();  // a real one is known now
      line.port_guessed = false;
      AddPorts(line.rule, rule->ports);
    }
    line.reasons.insert(Printable(decision.reason_code()));
  }
  Suggestion out;
  for (auto& [key, line] : lines) out.lines.push_back(std::move(line));
  out.others.assign(others.begin(), others.end());
  out.unchecked.assign(unchecked.begin(), unchecked.end());
  return out;
}

std::string ToYaml(const Suggestion& suggestion) {
  std::string out;
  if (suggestion.lines.empty() && suggestion.others.empty() && suggestion.unchecked.empty())
    return "# Nothing was refused.\nallow: []\n";
  if (std::ranges::all_of(suggestion.lines, &SuggestedLine::link_local)) {
    out = "allow: []\n";
  } else {
    out = "# The sandbox chose these destinations: allow only what you know.\nallow:\n";
  }
  for (const SuggestedLine& line : suggestion.lines) {
    if (line.link_local) continue;
    out +=
        fmt::format("  {}  # {}{}\n", policy::AllowLine(line.rule), fmt::join(line.reasons, ", "),
                    line.port_guessed ? "; only the name was asked for, the port is a guess" : "");
  }
  if (std::ranges::any_of(suggestion.lines, &SuggestedLine::link_local))
    out += "# Link-local, where clouds hand out a machine's credentials: not for untrusted code.\n";
  for (const SuggestedLine& line : suggestion.lines) {
    if (line.link_local)
      out += fmt::format("#   {}  # {}\n", policy::AllowLine(line.rule),
                         fmt::join(line.reasons, ", "));
  }
  if (!suggestion.others.empty()) out += "# Refused, and no rule of `allow` can change that:\n";
  for (const std::string& line : suggestion.others) out += "#   " + line + "\n";
  if (!suggestion.unchecked.empty()) {
    out +=
        "# What a warden of an earlier release suggests: unchecked, so look before you take it.\n";
  }
  for (const std::string& line : suggestion.unchecked) out += "#   " + line + "\n";
  return out;
}

std::string ToJson(const Suggestion& suggestion) {
  using Json = nlohmann::ordered_json;
  Json json;
  json["allow"] = Json::array();
  for (const SuggestedLine& line : suggestion.lines) {
    Json item;
    item[line.rule.kind == policy::SuggestedRule::Kind::kHost ? "host" : "cidr"] = line.rule.target;
    item["ports"] = line.rule.ports;
    item["protocol"] = policy::ToString(line.rule.protocol);
    item["reason_codes"] = line.reasons;
    if (line.port_guessed) item["port_guessed"] = true;
    if (line.link_local) item["link_local"] = true;
    json["allow"].push_back(std::move(item));
  }
  json["not_allowable"] = suggestion.others;
  if (!suggestion.unchecked.empty()) json["unchecked"] = suggestion.unchecked;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace cleanroom::cli
