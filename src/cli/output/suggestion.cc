#include "cli/output/suggestion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>

#include "cli/output/text.h"
#include "net/ip_address.h"

namespace cleanroom::cli {
namespace {

std::optional<uint16_t> ParsePort(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

bool IsHost(std::string_view text) {
  return !text.empty() && text.size() <= 253 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
  });
}

bool IsLinkLocal(const net::IpAddress& address) {
  static const std::array kBlocks = {net::Cidr::Parse("169.254.0.0/16").value(),
                                     net::Cidr::Parse("fe80::/10").value()};
  return std::ranges::any_of(kBlocks,
                             [&](const net::Cidr& block) { return block.Contains(address); });
}

// Takes `prefix` off the front.
bool Skip(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// "X, ports: [N]}" and so on, after the key.
std::optional<SuggestedRule> ParseBraces(std::string_view text, SuggestedRule rule) {
  const size_t comma = text.find(',');
  if (comma == std::string_view::npos) return std::nullopt;
  rule.target = std::string(text.substr(0, comma));
  text.remove_prefix(comma);
  if (!Skip(text, ", ports: [")) return std::nullopt;
  const size_t bracket = text.find(']');
  if (bracket == std::string_view::npos) return std::nullopt;
  const auto port = ParsePort(text.substr(0, bracket));
  if (!port) return std::nullopt;
  rule.ports.insert(*port);
  text.remove_prefix(bracket + 1);
  rule.protocol = Skip(text, ", protocol: udp") ? "udp" : "tcp";
  if (text != " }") return std::nullopt;
  return rule;
}

std::optional<SuggestedRule> ParseSuggestion(std::string_view text) {
  SuggestedRule rule;
  if (!Skip(text, "- ")) return std::nullopt;
  if (Skip(text, "{ host: ")) {
    auto parsed = ParseBraces(text, std::move(rule));
    if (!parsed || !IsHost(parsed->target)) return std::nullopt;
    return parsed;
  }
  if (Skip(text, "{ cidr: ")) {
    rule.kind = SuggestedRule::Kind::kCidr;
    auto parsed = ParseBraces(text, std::move(rule));
    if (!parsed) return std::nullopt;
    const auto block = net::Cidr::Parse(parsed->target);
    if (!block || !block->IsSingle()) return std::nullopt;
    parsed->link_local = IsLinkLocal(block->base());
    return parsed;
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = ParsePort(text.substr(colon + 1));
  rule.target = std::string(text.substr(0, colon));
  if (!port || !IsHost(rule.target)) return std::nullopt;
  rule.ports.insert(*port);
  rule.protocol = "tcp";
  return rule;
}

std::string Other(const v1::NetworkDecision& decision) {
  std::string line = fmt::format("{} ({})", DescribeDestination(decision), decision.reason_code());
  if (!decision.message().empty()) line += ": " + decision.message();
  return Printable(line);
}

std::string Line(const SuggestedRule& rule) {
  const std::string ports = fmt::format("{}", fmt::join(rule.ports, ", "));
  const bool host = rule.kind == SuggestedRule::Kind::kHost;
  if (host && rule.protocol == "tcp" && rule.ports.size() == 1)
    return fmt::format("- {}:{}", rule.target, ports);
  return fmt::format("- {{ {}: {}, ports: [{}]{} }}", host ? "host" : "cidr", rule.target, ports,
                     rule.protocol == "udp" ? ", protocol: udp" : "");
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
  using Key = std::tuple<SuggestedRule::Kind, std::string, std::string>;
  std::map<Key, SuggestedRule> rules;
  std::set<std::string> others;
  for (const v1::NetworkDecision& decision : decisions) {
    if (decision.allowed() || decision.reason_code().empty()) continue;
    auto parsed = ParseSuggestion(decision.suggestion());
    if (!parsed) {
      others.insert(Other(decision));
      continue;
    }
    const bool guessed = decision.port() == 0;
    auto [place, fresh] = rules.try_emplace({parsed->kind, parsed->target, parsed->protocol});
    SuggestedRule& rule = place->second;
    if (fresh) {
      rule = std::move(*parsed);
      rule.port_guessed = guessed;
    } else if (!guessed) {
      if (rule.port_guessed) rule.ports.clear();  // a real one is known now
      rule.port_guessed = false;
      rule.ports.merge(parsed->ports);
    }
    rule.reasons.insert(Printable(decision.reason_code()));
  }
  Suggestion out;
  for (auto& [key, rule] : rules) out.rules.push_back(std::move(rule));
  out.others.assign(others.begin(), others.end());
  return out;
}

std::string ToYaml(const Suggestion& suggestion) {
  std::string out;
  if (suggestion.rules.empty() && suggestion.others.empty())
    return "# Nothing was refused.\nallow: []\n";
  if (std::ranges::all_of(suggestion.rules, &SuggestedRule::link_local)) {
    out = "allow: []\n";
  } else {
    out = "# The sandbox chose these destinations: allow only what you know.\nallow:\n";
  }
  for (const SuggestedRule& rule : suggestion.rules) {
    if (rule.link_local) continue;
    out +=
        fmt::format("  {}  # {}{}\n", Line(rule), fmt::join(rule.reasons, ", "),
                    rule.port_guessed ? "; only the name was asked for, the port is a guess" : "");
  }
  if (std::ranges::any_of(suggestion.rules, &SuggestedRule::link_local))
    out += "# Link-local, where clouds hand out a machine's credentials: not for untrusted code.\n";
  for (const SuggestedRule& rule : suggestion.rules) {
    if (rule.link_local)
      out += fmt::format("#   {}  # {}\n", Line(rule), fmt::join(rule.reasons, ", "));
  }
  if (!suggestion.others.empty()) out += "# Refused, and no rule of `allow` can change that:\n";
  for (const std::string& line : suggestion.others) out += "#   " + line + "\n";
  return out;
}

std::string ToJson(const Suggestion& suggestion) {
  using Json = nlohmann::ordered_json;
  Json json;
  json["allow"] = Json::array();
  for (const SuggestedRule& rule : suggestion.rules) {
    Json item;
    item[rule.kind == SuggestedRule::Kind::kHost ? "host" : "cidr"] = rule.target;
    item["ports"] = rule.ports;
    item["protocol"] = rule.protocol;
    item["reason_codes"] = rule.reasons;
    if (rule.port_guessed) item["port_guessed"] = true;
    if (rule.link_local) item["link_local"] = true;
    json["allow"].push_back(std::move(item));
  }
  json["not_allowable"] = suggestion.others;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace cleanroom::cli
