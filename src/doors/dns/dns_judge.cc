#include "doors/dns/dns_judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "doors/dns/dns_name.h"
#include "doors/dns/reverse_name.h"
#include "net/host_name.h"

namespace cleanroom::doors {
namespace {

using net::IpAddress;
using policy::Protocol;
using wire::DnsAnswer;
using wire::DnsRecord;
using wire::Rcode;
namespace type = wire::dns_type;

// Types of zone transfers (RFC 5936, RFC 1995).
constexpr uint16_t kIxfr = 251;
constexpr uint16_t kAxfr = 252;
// Extended errors (RFC 8914, 4).
constexpr uint16_t kEdeOther = 0;
constexpr uint16_t kEdeBlocked = 15;
constexpr uint16_t kEdeProhibited = 18;
constexpr uint16_t kEdeNoReachableAuthority = 22;
constexpr uint16_t kEdeNetworkError = 23;

// Of what is answered here, in seconds: it does not change, but costs nothing to ask.
constexpr uint32_t kLocalTtl = 60;

constexpr std::array kTypes{type::kA,   type::kAaaa,  type::kCname, type::kHttps, type::kSvcb,
                            type::kMx,  type::kTxt,   type::kSrv,   type::kNs,    type::kSoa,
                            type::kCaa, type::kNaptr, type::kPtr};

bool IsUnder(std::string_view name, std::string_view domain) {
  return name == domain || (name.size() > domain.size() && name.ends_with(domain) &&
                            name[name.size() - domain.size() - 1] == '.');
}

DnsRecord AddressRecord(const std::string& name, const IpAddress& address) {
  const bool v4 = address.family() == IpAddress::Family::kV4;
  const auto& bytes = address.bytes();
  return {.name = name,
          .type = v4 ? type::kA : type::kAaaa,
          .ttl = kLocalTtl,
          .data = std::vector<uint8_t>(bytes.begin(), bytes.begin() + (v4 ? 4 : 16)),
          .address = address,
          .target = {}};
}

// A name in normal form, as the data of a PTR.
DnsRecord PointerRecord(const std::string& owner, std::string_view name) {
  DnsRecord record{.name = owner,
                   .type = type::kPtr,
                   .ttl = kLocalTtl,
                   .data = {},
                   .address = std::nullopt,
                   .target = {}};
  if (auto data = wire::NameFromText(name)) record.data = *std::move(data);
  return record;
}

bool IsAddressType(uint16_t of) { return of == type::kA || of == type::kAaaa; }

// The name that the data of an HTTPS or SVCB record leads to (RFC 9460, 2.2); "." is its owner.
std::string BindingTarget(std::span<const uint8_t> data) {
  wire::DnsCursor cursor(data);
  std::vector<uint8_t> target;
  const bool whole = cursor.Skip(2) && cursor.Name(wire::DnsCursor::Pointers::kForbidden, target);
  return whole ? wire::NameToText(target) : "";
}

uint16_t EdeOf(Code code) {
  switch (code) {
    case Code::kHostNotAllowed:
    case Code::kDeniedByRule:
    case Code::kMalformed:
    case Code::kUnsupported:
      return kEdeProhibited;
    case Code::kPrivateAddress:
    case Code::kTunnelSuspected:
      return kEdeBlocked;
    default:
      return kEdeOther;
  }
}

}  // namespace

DnsJudge::DnsJudge(DnsDoorConfig config, const Rules& rules, NameMemory& memory, DecisionSink& sink)
    : config_(std::move(config)), rules_(rules), memory_(memory), sink_(sink) {}

DnsJudge::Step DnsJudge::Begin(wire::Bytes message, Protocol transport, Clock::time_point now) {
  const bool in_time = queries_.Take(now);
  auto query = wire::ParseQuery(message);
  if (!query) {
    const wire::BadQuery& bad = query.error();
    Question nothing;
    nothing.transport = transport;
    const Code code = bad.rcode == Rcode::kNotImp ? Code::kUnsupported : Code::kMalformed;
    Record(nothing, {code, 0, bad.problem, {}});
    if (!bad.answer) return Silence{};
    return wire::WriteBadQueryResponse(bad);
  }
  Question question{.query = *std::move(query), .name = {}, .transport = transport};
  const auto name = net::NormalizeWireHost(question.query.name);
  question.name = name ? *name : question.query.name;
  if (!in_time) {
    return RefuseForLimit(question,
                          fmt::format("{} was not asked: this sandbox sends more than {} DNS "
                                      "queries a second",
                                      question.name, dns_limit::kQueriesPerSecond));
  }
  if (auto answer = AnswerHere(question, now)) return *std::move(answer);
  for (const std::string_view domain : {"onion", "invalid"}) {
    if (!IsUnder(question.name, domain)) continue;
    return Refuse(question,
                  {Code::kUnsupported,
                   0,
                   fmt::format("{} cannot be asked for: names under .{} are not in the DNS",
                               question.name, domain),
                   {}},
                  Rcode::kRefused);
  }
  Verdict verdict = rules_.CheckName(question.query.name, std::nullopt, std::nullopt);
  if (!verdict.allowed()) return Refuse(question, std::move(verdict), Rcode::kRefused);
  const uint16_t asked = question.query.type;
  if (std::find(kTypes.begin(), kTypes.end(), asked) == kTypes.end()) {
    const bool transfer = asked == kAxfr || asked == kIxfr;
    return Refuse(question,
                  {Code::kUnsupported,
                   0,
                   fmt::format("{} queries are not answered (asked for {})",
                               wire::DnsTypeName(asked), question.name),
                   {}},
                  transfer ? Rcode::kNotImp : Rcode::kRefused);
  }
  question.wildcard = verdict.code == Code::kAllowed && !verdict.exact;
  if (question.wildcard) {
    if (auto problem = guard_.CheckQuery(question.name, asked, now)) {
      return Refuse(question, {Code::kTunnelSuspected, 0, *std::move(problem), {}},
                    Rcode::kRefused);
    }
  }
  return question;
}

std::optional<DnsJudge::Message> DnsJudge::BeforeAsking(const Question& question,
                                                        Clock::time_point now) {
  if (!question.wildcard) return std::nullopt;
  auto problem = guard_.CheckSending(question.name, now);
  if (!problem) return std::nullopt;
  return Refuse(question, {Code::kTunnelSuspected, 0, *std::move(problem), {}}, Rcode::kRefused);
}

DnsJudge::Message DnsJudge::Finish(const Question& question, const Result<DnsAnswer>& answer,
                                   Clock::time_point now) {
  // The stage may have changed since the question was let through.
  Verdict verdict = rules_.CheckName(question.name, std::nullopt, std::nullopt);
  if (!verdict.allowed()) return Refuse(question, std::move(verdict), Rcode::kRefused);
  if (!answer) {
    if (answer.error().code() == ErrorCode::kResourceExhausted) {
      return RefuseForLimit(question, answer.error().message());
    }
    // The record names the host's servers; the guest learns nothing of them.
    Record(question, {Code::kResolverFailed, 0, answer.error().message(), {}});
    const bool silent = answer.error().code() == ErrorCode::kDeadlineExceeded;
    const wire::ExtendedError error{silent ? kEdeNoReachableAuthority : kEdeNetworkError,
                                    "the host's DNS servers gave no answer"};
    return Write(question, {.rcode = Rcode::kServFail, .answers = {}, .authority = {}}, error);
  }
  DnsAnswer told{.rcode = answer->rcode, .answers = {}, .authority = {}};
  std::optional<IpAddress> withheld;
  std::vector<IpAddress> addresses;
  uint32_t ttl = UINT32_MAX;
  for (const DnsRecord& record : answer->answers) {
    ttl = std::min(ttl, record.ttl);
    if (IsAddressType(record.type)) {
      if (!record.address) continue;
      if (!rules_.MayAnswer(*record.address)) {
        withheld = record.address;
        continue;
      }
      addresses.push_back(*record.address);
    } else if (record.type == type::kHttps || record.type == type::kSvcb) {
      const std::string target = BindingTarget(record.data);
      const bool may_follow =
          target == "." || rules_.CheckName(target, std::nullopt, std::nullopt).allowed();
      if (!may_follow) continue;
    }
    told.answers.push_back(record);
  }
  if (withheld && addresses.empty()) {
    return Refuse(question, WhyWithheld(question, *withheld), Rcode::kRefused);
  }
  for (const IpAddress& address : addresses) {
    memory_.Remember(address, question.name, std::chrono::seconds(ttl), now);
  }
  const bool negative = told.rcode != Rcode::kNoError || answer->answers.empty() ||
                        answer->answers.back().type != question.query.type;
  if (negative) told.authority = answer->authority;
  Record(question, verdict);
  return Write(question, told, std::nullopt);
}

DnsJudge::Message DnsJudge::RefuseForLimit(const Question& question, std::string message) {
  return Refuse(question, {Code::kLimitExceeded, 0, std::move(message), {}}, Rcode::kRefused);
}

DnsJudge::Message DnsJudge::Refuse(const Question& question, Verdict verdict, Rcode rcode) {
  Record(question, verdict);
  const wire::ExtendedError error{EdeOf(verdict.code), std::move(verdict.message)};
  return Write(question, {.rcode = rcode, .answers = {}, .authority = {}}, error);
}

DnsJudge::Message DnsJudge::Write(const Question& question, const DnsAnswer& answer,
                                  const std::optional<wire::ExtendedError>& error) const {
  const size_t udp = std::clamp<size_t>(question.query.udp_payload, 512, wire::kUdpPayload);
  const bool is_udp = question.transport == Protocol::kUdp;
  return wire::WriteResponse(question.query, answer, error, is_udp ? udp : wire::kMaxDnsMessage);
}

void DnsJudge::Record(const Question& question, const Verdict& verdict) {
  sink_.Record({.service = Service::kDns,
                .protocol = question.transport,
                .host = question.name,
                .address = std::nullopt,
                .port = 0,
                .code = verdict.code,
                .message = verdict.message,
                .suggestion = verdict.suggestion,
                .line = verdict.line});
}

std::optional<DnsJudge::Message> DnsJudge::AnswerHere(const Question& question,
                                                      Clock::time_point now) {
  std::vector<IpAddress> addresses;
  if (question.name == kGatewayName) {
    addresses = config_.gateway;
  } else if (IsUnder(question.name, "localhost")) {
    std::array<uint8_t, 16> loopback{};
    loopback.back() = 1;
    addresses = {IpAddress::V4({127, 0, 0, 1}), IpAddress::V6(loopback)};
  } else if (IsReverseName(question.name)) {
    return AnswerReverse(question, now);
  } else {
    return std::nullopt;
  }
  DnsAnswer answer;
  for (const IpAddress& address : addresses) {
    DnsRecord record = AddressRecord(question.query.name, address);
    if (record.type == question.query.type) answer.answers.push_back(std::move(record));
  }
  return Write(question, answer, std::nullopt);
}

DnsJudge::Message DnsJudge::AnswerReverse(const Question& question, Clock::time_point now) {
  DnsAnswer answer;
  const auto address = ParseReverseName(question.name);
  if (!address) {
    answer.rcode = Rcode::kNxDomain;
    return Write(question, answer, std::nullopt);
  }
  std::vector<std::string> names;
  const auto& gateway = config_.gateway;
  if (std::find(gateway.begin(), gateway.end(), *address) != gateway.end()) {
    names.emplace_back(kGatewayName);
  } else {
    for (NameMemory::Name& name : memory_.Lookup(*address, now)) {
      names.push_back(std::move(name.name));
    }
  }
  if (names.empty()) answer.rcode = Rcode::kNxDomain;
  if (question.query.type == type::kPtr) {
    for (const std::string& name : names) {
      answer.answers.push_back(PointerRecord(question.query.name, name));
    }
  }
  return Write(question, answer, std::nullopt);
}

Verdict DnsJudge::WhyWithheld(const Question& question, const IpAddress& address) const {
  // No port is known; the one most asked for makes the suggestion.
  const Verdict by_address = rules_.CheckAddress(address, 443, Protocol::kTcp);
  const std::string leads = fmt::format("{} leads to {}, which", question.name, address.ToString());
  if (by_address.code == Code::kDeniedByRule) {
    return {Code::kDeniedByRule, by_address.line, leads + " a rule of the policy denies", {}};
  }
  if (by_address.code == Code::kUnsupported) {
    return {Code::kPrivateAddress, 0, leads + " is no address to connect to", {}};
  }
  return {Code::kPrivateAddress, 0, leads + " is not a public address, and no cidr rule names it",
          SuggestAddress(address, 443, Protocol::kTcp)};
}

}  // namespace cleanroom::doors
