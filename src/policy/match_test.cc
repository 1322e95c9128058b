#include "policy/match.h"

#include <gtest/gtest.h>

#include <string>

#include "policy/load.h"

namespace cleanroom::policy {
namespace {

const std::string kHead =
    "version: 1\nsandbox:\n  image: { ref: "
    "example.com/base@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef }\n";

CompiledPolicy MustCompile(const std::string& rest) {
  ParseResult parsed = Parse(kHead + rest, "f");
  if (!parsed) {
    ADD_FAILURE() << document::Format(parsed.error());
    std::abort();
  }
  return *CompiledPolicy::Compile(*std::move(parsed));
}

TEST(Match, FollowsThePrecedence) {
  const CompiledPolicy policy = MustCompile(R"(  network:
    allow:
      - good.example.com:443
      - both.example.com:443
      - { host: "*.example.com", ports: [443, 8443] }
      - { host: "*.open.example", ports: [443] }
      - good.bad.example:443
      - { host: dns.example, ports: [53], protocol: udp }
      - { cidr: 10.0.0.0/8, ports: [5432] }
      - { cidr: 10.9.0.1, ports: [5432] }
      - { cidr: "fd00::/8", ports: [1] }
    deny:
      - { host: both.example.com }
      - { host: evil.example.com }
      - { host: "*.bad.example" }
      - { host: "*.open.example" }
      - { cidr: 10.9.0.0/16 }
      - { cidr: 10.1.1.1/32 }
)");
  const struct {
    std::string_view host;
    int port;
    Protocol protocol;
    bool allowed;
    Reason reason;
    int line;
  } kCases[] = {
      {"good.example.com", 443, Protocol::kTcp, true, Reason::kAllowExact, 6},
      {"GOOD.Example.com.", 443, Protocol::kTcp, true, Reason::kAllowExact, 6},
      {"good.example.com", 8443, Protocol::kTcp, true, Reason::kAllowWildcard, 8},
      {"good.example.com", 22, Protocol::kTcp, false, Reason::kPortNotAllowed, 0},
      {"good.example.com", 443, Protocol::kUdp, false, Reason::kPortNotAllowed, 0},
      {"both.example.com", 443, Protocol::kTcp, false, Reason::kDenyExact, 16},
      {"evil.example.com", 443, Protocol::kTcp, false, Reason::kDenyExact, 17},
      {"other.example.com", 443, Protocol::kTcp, true, Reason::kAllowWildcard, 8},
      {"a.other.example.com", 443, Protocol::kTcp, false, Reason::kDefaultDeny, 0},
      {"example.com", 443, Protocol::kTcp, false, Reason::kDefaultDeny, 0},
      {"good.bad.example", 443, Protocol::kTcp, true, Reason::kAllowExact, 10},
      {"good.bad.example", 80, Protocol::kTcp, false, Reason::kDenyWildcard, 18},
      {"x.open.example", 443, Protocol::kTcp, false, Reason::kDenyWildcard, 19},
      {"dns.example", 53, Protocol::kUdp, true, Reason::kAllowExact, 11},
      {"dns.example", 53, Protocol::kTcp, false, Reason::kPortNotAllowed, 0},
      {"elsewhere.org", 443, Protocol::kTcp, false, Reason::kDefaultDeny, 0},
      {"", 443, Protocol::kTcp, false, Reason::kInvalidHost, 0},
      {"bücher.example", 443, Protocol::kTcp, false, Reason::kInvalidHost, 0},
      {"127.1", 443, Protocol::kTcp, false, Reason::kInvalidHost, 0},
      {"*.example.com", 443, Protocol::kTcp, false, Reason::kInvalidHost, 0},
      {"10.2.3.4", 5432, Protocol::kTcp, true, Reason::kAllowWildcard, 12},
      {"::ffff:10.2.3.4", 5432, Protocol::kTcp, true, Reason::kAllowWildcard, 12},
      {"10.2.3.4", 443, Protocol::kTcp, false, Reason::kPortNotAllowed, 0},
      {"10.1.1.1", 5432, Protocol::kTcp, false, Reason::kDenyExact, 21},
      {"10.9.0.1", 5432, Protocol::kTcp, true, Reason::kAllowExact, 13},
      {"10.9.0.2", 5432, Protocol::kTcp, false, Reason::kDenyWildcard, 20},
      {"11.0.0.1", 5432, Protocol::kTcp, false, Reason::kDefaultDeny, 0},
      {"fd12::1", 1, Protocol::kTcp, true, Reason::kAllowWildcard, 14},
      {"[fd12::1]", 1, Protocol::kTcp, true, Reason::kAllowWildcard, 14},
      {"fe80::1", 1, Protocol::kTcp, false, Reason::kDefaultDeny, 0},
  };
  for (const auto& c : kCases) {
    const Decision decision = Match(
        policy, {.host = c.host, .port = static_cast<uint16_t>(c.port), .protocol = c.protocol});
    EXPECT_EQ(decision.allowed, c.allowed) << c.host << ":" << c.port;
    EXPECT_EQ(decision.reason, c.reason)
        << c.host << ":" << c.port << " " << ToString(decision.reason);
    EXPECT_EQ(decision.line, c.line) << c.host << ":" << c.port;
    EXPECT_EQ(decision.list == RuleList::kNone, c.line == 0) << c.host << ":" << c.port;
  }
}

TEST(Match, NamesTheRuleInTheCompiledList) {
  const CompiledPolicy policy = MustCompile("  network: { allow: [ z.example:1, a.example:1 ] }\n");
  const Decision decision = Match(policy, {.host = "z.example", .port = 1});
  EXPECT_EQ(decision.list, RuleList::kAllow);
  ASSERT_LT(decision.index, policy.spec().network.allow.size());
  EXPECT_EQ(ToString(policy.spec().network.allow[decision.index].target), "z.example");
}

TEST(Match, WithoutAPortAsksWhetherAnyIsAllowed) {
  const CompiledPolicy policy = MustCompile(
      "  network: { allow: [ a.example:8443, { host: u.example, ports: [53], protocol: udp } ], "
      "deny: [ { host: d.example } ] }\n");
  const auto any = [&policy](std::string_view host) {
    return Match(policy, {.host = host, .port = std::nullopt, .protocol = std::nullopt}).allowed;
  };
  EXPECT_TRUE(any("a.example"));
  EXPECT_TRUE(any("u.example"));
  EXPECT_FALSE(any("d.example"));
  EXPECT_FALSE(any("b.example"));
}

TEST(Match, KeepsStagesApart) {
  const CompiledPolicy policy = MustCompile(R"(  network:
    dependencies: { allow: [dep.example:443] }
    services: { allow: [svc.example:443] }
    execution: { allow: [exe.example:443] }
    deny: [ { host: no.example } ]
repository: { network: { allow: [git.example:443] } }
)");
  const std::pair<std::string_view, Stage> kHomes[] = {{"git.example", Stage::kRepository},
                                                       {"dep.example", Stage::kDependencies},
                                                       {"svc.example", Stage::kServices},
                                                       {"exe.example", Stage::kExecution}};
  for (const auto& [host, home] : kHomes) {
    for (const auto& [unused, stage] : kHomes) {
      EXPECT_EQ(Match(policy, {.host = host, .port = 443, .stage = stage}).allowed, stage == home)
          << host << " " << ToString(stage);
      EXPECT_EQ(Match(policy, {.host = "no.example", .port = 443, .stage = stage}).reason,
                Reason::kDenyExact);
    }
  }
  const CompiledPolicy shared = MustCompile("  network: { allow: [ a.example:443 ] }\n");
  for (const auto& [unused, stage] : kHomes) {
    EXPECT_TRUE(Match(shared, {.host = "a.example", .port = 443, .stage = stage}).allowed);
  }
}

TEST(Match, AnOpenPolicyStillDenies) {
  Policy open =
      MustCompile("  network: { deny: [ { host: evil.example }, { cidr: 169.254.169.254 } ] }\n")
          .spec();
  open.network.default_action = NetworkDefault::kAllow;
  const CompiledPolicy policy = *CompiledPolicy::Compile(open);
  EXPECT_EQ(Match(policy, {.host = "a.example", .port = 22}).reason, Reason::kDefaultAllow);
  EXPECT_TRUE(Match(policy, {.host = "8.8.8.8", .port = 22}).allowed);
  EXPECT_FALSE(Match(policy, {.host = "evil.example", .port = 22}).allowed);
  EXPECT_FALSE(Match(policy, {.host = "::ffff:169.254.169.254", .port = 80}).allowed);
  EXPECT_FALSE(Match(policy, {.host = "not a host", .port = 80}).allowed);
}

}  // namespace
}  // namespace cleanroom::policy
