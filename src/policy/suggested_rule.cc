#include "policy/suggested_rule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "net/ip_address.h"

namespace cleanroom::policy {
namespace {

constexpr size_t kMaxHost = 253;

bool IsHost(std::string_view text) {
  return !text.empty() && text.size() <= kMaxHost && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
  });
}

}  // namespace

bool IsWellFormed(const SuggestedRule& rule) {
  if (rule.ports.empty() || std::ranges::find(rule.ports, 0) != rule.ports.end()) return false;
  if (rule.kind == SuggestedRule::Kind::kHost) return IsHost(rule.target);
  const auto block = net::Cidr::Parse(rule.target);
  return block && block->IsSingle();
}

std::string AllowLine(const SuggestedRule& rule) {
  const std::string ports = fmt::format("{}", fmt::join(rule.ports, ", "));
  const bool host = rule.kind == SuggestedRule::Kind::kHost;
  if (host && rule.protocol == Protocol::kTcp && rule.ports.size() == 1)
    return fmt::format("- {}:{}", rule.target, ports);
  return fmt::format("- {{ {}: {}, ports: [{}]{} }}", host ? "host" : "cidr", rule.target, ports,
                     rule.protocol == Protocol::kUdp ? ", protocol: udp" : "");
}

}  // namespace cleanroom::policy
