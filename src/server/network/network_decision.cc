#include "server/network/network_decision.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/id.h"
#include "base/time_text.h"
#include "policy/suggested_rule.h"
#include "server/convert.h"
#include "server/plain_text.h"

namespace cleanroom::server {
namespace {

// Of what a warden says.
constexpr size_t kNameBytes = 256;
constexpr size_t kTextBytes = 512;
constexpr size_t kMaxRulePorts = 64;

// Nothing when the record has none, or none that a door makes.
std::optional<policy::SuggestedRule> RuleOf(const pb::NetworkRecord& record) {
  using policy::SuggestedRule;
  const pb::SuggestedRule& said = record.rule();
  if (!record.has_rule() || static_cast<size_t>(said.ports_size()) > kMaxRulePorts) return {};
  SuggestedRule rule;
  rule.kind = said.has_cidr() ? SuggestedRule::Kind::kCidr : SuggestedRule::Kind::kHost;
  rule.target = said.has_cidr() ? said.cidr() : said.host();
  for (const uint32_t port : said.ports()) {
    if (port > std::numeric_limits<uint16_t>::max()) return {};
    rule.ports.push_back(static_cast<uint16_t>(port));
  }
  const bool udp = said.protocol() == policy::ToString(policy::Protocol::kUdp);
  rule.protocol = udp ? policy::Protocol::kUdp : policy::Protocol::kTcp;
  if (!policy::IsWellFormed(rule)) return {};
  return rule;
}

void ToMessage(const policy::SuggestedRule& rule, v1::SuggestedRule& out) {
  if (rule.kind == policy::SuggestedRule::Kind::kHost) {
    out.set_host(rule.target);
  } else {
    out.set_cidr(rule.target);
  }
  for (const uint16_t port : rule.ports) out.add_ports(port);
  out.set_protocol(std::string(policy::ToString(rule.protocol)));
}

std::string TimeOf(int64_t micros) {
  return TimeText(std::chrono::system_clock::time_point(std::chrono::microseconds(micros)),
                  TimeDigits::kMicroseconds);
}

}  // namespace

int64_t SaneMicros(int64_t micros) {
  constexpr int64_t kYear2200 = 7'258'118'400'000'000;
  return std::clamp<int64_t>(micros, 0, kYear2200);
}

v1::NetworkDecision ToDecision(const pb::NetworkRecord& record) {
  v1::NetworkDecision out;
  *out.mutable_time() = ToTimestamp(SaneMicros(std::max(record.last_us(), record.time_us())));
  out.set_service(PlainText(record.service(), kNameBytes));
  out.set_protocol(PlainText(record.protocol(), kNameBytes));
  out.set_destination(PlainText(record.destination(), kNameBytes));
  out.set_address(PlainText(record.address(), kNameBytes));
  out.set_port(static_cast<int32_t>(std::min<uint32_t>(record.port(), 65535)));
  out.set_allowed(record.allowed());
  out.set_reason_code(PlainText(record.reason_code(), kNameBytes));
  out.set_message(PlainText(record.message(), kTextBytes));
  const auto rule = RuleOf(record);
  if (rule) {
    ToMessage(*rule, *out.mutable_rule());
    out.set_suggestion(policy::AllowLine(*rule));
  } else {
    out.set_suggestion(PlainText(record.suggestion(), kTextBytes));
  }
  out.set_count(record.count());
  out.set_execution_id(IsId(record.execution_id()) ? record.execution_id() : "");
  out.set_policy_line(record.policy_line());
  out.set_more(record.more());
  return out;
}

std::string AuditLine(const SandboxId& sandbox_id, const pb::NetworkRecord& record) {
  const v1::NetworkDecision decision = ToDecision(record);
  nlohmann::ordered_json json;
  json["time"] = TimeOf(SaneMicros(record.time_us()));
  if (record.last_us() > record.time_us()) json["last_time"] = TimeOf(SaneMicros(record.last_us()));
  json["sequence"] = record.sequence();
  json["sandbox_id"] = sandbox_id.text();
  json["execution_id"] = decision.execution_id();
  json["service"] = decision.service();
  json["protocol"] = decision.protocol();
  json["destination"] = decision.destination();
  if (!decision.address().empty()) json["address"] = decision.address();
  json["port"] = decision.port();
  json["action"] = decision.allowed() ? "allow" : "deny";
  json["reason_code"] = decision.reason_code();
  json["count"] = decision.count();
  if (decision.more() > 0) json["distinct"] = decision.more();
  if (decision.policy_line() > 0) json["policy_line"] = decision.policy_line();
  if (!decision.suggestion().empty()) json["suggestion"] = decision.suggestion();
  json["message"] = decision.message();
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace cleanroom::server
