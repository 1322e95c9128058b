// DnsJudge: what the DNS door says to a query, without a socket: which questions are answered here,
// which are refused, which may be asked of the host's resolvers, and what of their answers a guest
// is told.
//
//  - A name that no rule allows is REFUSED at once, with an extended error (RFC 8914) that says
//  why.
//  - The gateway's name, localhost (RFC 6761) and the names of addresses that were answered before
//    are answered here, which is no decision to record: nothing was refused or let out. Names under
//    .onion (RFC 7686) and .invalid (RFC 6761) never leave; single labels, .local and .test are
//    names like any other, and need a rule.
//  - Addresses that Rules::MayAnswer refuses are left out; when that leaves none, the query is
//    REFUSED. Those told are remembered under the name that was asked.
//  - HTTPS and SVCB records come without what would get a client past the doors
//    (wire/dns_rdata.h): `ech` hides the server name that the TCP door has to read, and the address
//    hints were not checked. Those that lead to a name which is not allowed are left out, so that a
//    client goes on with the addresses of the name it has.
//  - Times to live pass as they are; that a short one does not cut off who connects late is
//    NameMemory's floor.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "doors/dns/dns_limits.h"
#include "doors/dns/dns_message.h"
#include "doors/rules/decision.h"
#include "doors/rules/name_memory.h"
#include "doors/rules/rules.h"

namespace cleanroom::doors {

inline constexpr std::string_view kGatewayName = "gateway.cleanroom.internal";

struct DnsDoorConfig {
  std::vector<net::IpAddress> gateway;  // the addresses of kGatewayName
};

class DnsJudge {
 public:
  using Clock = std::chrono::steady_clock;
  using Message = std::vector<uint8_t>;

  // `rules`, `memory` and `sink` outlive it.
  DnsJudge(DnsDoorConfig config, const Rules& rules, NameMemory& memory, DecisionSink& sink);

  // A query that its name, type and the sandbox's limits let pass.
  struct Question {
    wire::DnsQuery query;
    std::string name;  // in normal form
    policy::Protocol transport = policy::Protocol::kUdp;
    bool wildcard = false;  // only a wildcard allows it
  };
  struct Silence {};  // what came was no query
  // Message: the answer.
  using Step = std::variant<Silence, Message, Question>;
  Step Begin(wire::Bytes message, policy::Protocol transport, Clock::time_point now);

  // The question is about to be asked of the host's resolvers, which did not answer it lately: the
  // refusal, when it may not.
  std::optional<Message> BeforeAsking(const Question& question, Clock::time_point now);

  // The resolver's answer, as the guest is told it.
  Message Finish(const Question& question, const Result<wire::DnsAnswer>& answer,
                 Clock::time_point now);

  TunnelGuard& tunnel_guard() { return guard_; }

  // One of the sandbox's limits is reached; `message` says which.
  Message RefuseForLimit(const Question& question, std::string message);

 private:
  Message Refuse(const Question& question, Verdict verdict, wire::Rcode rcode);
  Message Write(const Question& question, const wire::DnsAnswer& answer,
                const std::optional<wire::ExtendedError>& error) const;
  void Record(const Question& question, const Verdict& verdict);
  std::optional<Message> AnswerHere(const Question& question, Clock::time_point now);
  Message AnswerReverse(const Question& question, Clock::time_point now);
  Verdict WhyWithheld(const Question& question, const net::IpAddress& address) const;

  DnsDoorConfig config_;
  const Rules& rules_;
  NameMemory& memory_;
  DecisionSink& sink_;
  TokenBucket queries_{dns_limit::kQueryBurst, dns_limit::kQueriesPerSecond};
  TunnelGuard guard_;
};

}  // namespace cleanroom::doors
