#include "doors/rules/rules.h"

#include <gtest/gtest.h>

#include "policy/load.h"

namespace cleanroom::doors {
namespace {

using net::IpAddress;
using policy::Protocol;

Rules Make(std::string_view network) {
  const std::string yaml =
      "version: 1\nsandbox:\n  image: { ref: \"example.com/a@sha256:" + std::string(64, 'a') +
      "\" }\n  network:\n" + std::string(network);
  auto parsed = policy::Parse(yaml, "cleanroom.yaml");
  EXPECT_TRUE(parsed.has_value()) << yaml;
  auto compiled = policy::CompiledPolicy::Compile(*std::move(parsed));
  EXPECT_TRUE(compiled.has_value());
  return Rules(*std::move(compiled));
}

IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }

TEST(RulesTest, NamesByPortAndProtocol) {
  const Rules rules = Make(
      "    allow:\n"
      "      - api.example.com:443\n"
      "      - { host: \"*.example.org\", ports: [53], protocol: udp }\n"
      "    deny:\n"
      "      - { host: bad.example.org }\n");
  EXPECT_EQ(rules.CheckName("API.example.com.", 443, Protocol::kTcp).code, Code::kAllowed);
  const Verdict port = rules.CheckName("api.example.com", 22, Protocol::kTcp);
  EXPECT_EQ(port.code, Code::kPortNotAllowed);
  EXPECT_EQ(AllowLine(*port.suggestion), "- api.example.com:22");
  EXPECT_EQ(port.message, "api.example.com is not allowed on TCP port 22");
  EXPECT_EQ(rules.CheckName("a.example.org", 53, Protocol::kTcp).code, Code::kPortNotAllowed);
  EXPECT_EQ(rules.CheckName("a.example.org", 53, Protocol::kUdp).code, Code::kAllowed);
  const Verdict denied = rules.CheckName("bad.example.org", 53, Protocol::kUdp);
  EXPECT_EQ(denied.code, Code::kDeniedByRule);
  EXPECT_FALSE(denied.suggestion);
  EXPECT_EQ(rules.CheckName("example.org", std::nullopt, std::nullopt).code, Code::kHostNotAllowed);
  EXPECT_EQ(rules.CheckName("a.example.org", std::nullopt, std::nullopt).code, Code::kAllowed);
  EXPECT_FALSE(rules.CheckName("a.example.org", std::nullopt, std::nullopt).exact);
  EXPECT_TRUE(rules.CheckName("api.example.com", std::nullopt, std::nullopt).exact);
  EXPECT_EQ(rules.CheckName("a b", 443, Protocol::kTcp).code, Code::kMalformed);
}

TEST(RulesTest, AnAllowedNameDoesNotOpenPrivateAddresses) {
  const Rules rules = Make(
      "    allow:\n"
      "      - api.example.com:443\n"
      "      - { cidr: 10.1.0.0/16, ports: [443] }\n"
      "    deny:\n"
      "      - { cidr: 93.184.216.0/24 }\n");
  auto code = [&](std::string_view address) {
    return rules.CheckTarget("api.example.com", Ip(address), 443, Protocol::kTcp).code;
  };
  EXPECT_EQ(code("1.1.1.1"), Code::kAllowed);
  EXPECT_EQ(code("10.1.2.3"), Code::kAllowed);
  EXPECT_EQ(code("10.2.2.3"), Code::kPrivateAddress);
  EXPECT_EQ(code("169.254.169.254"), Code::kPrivateAddress);
  EXPECT_EQ(code("127.0.0.1"), Code::kPrivateAddress);
  EXPECT_EQ(code("::ffff:10.2.2.3"), Code::kPrivateAddress);
  EXPECT_EQ(code("0.0.0.0"), Code::kUnsupported);
  EXPECT_EQ(code("93.184.216.34"), Code::kDeniedByRule);
  EXPECT_TRUE(rules.MayAnswer(Ip("1.1.1.1")));
  EXPECT_TRUE(rules.MayAnswer(Ip("10.1.0.1")));
  EXPECT_FALSE(rules.MayAnswer(Ip("10.2.0.1")));
  EXPECT_FALSE(rules.MayAnswer(Ip("93.184.216.34")));
}

TEST(RulesTest, OnlyACidrRuleInPrivateSpaceNamesPrivateAddresses) {
  const Rules wide = Make("    allow:\n      - { cidr: 0.0.0.0/0, ports: [80] }\n");
  EXPECT_EQ(wide.CheckAddress(Ip("1.1.1.1"), 80, Protocol::kTcp).code, Code::kAllowed);
  EXPECT_EQ(wide.CheckAddress(Ip("1.1.1.1"), 80, Protocol::kUdp).code, Code::kPortNotAllowed);
  const Verdict metadata = wide.CheckAddress(Ip("169.254.169.254"), 80, Protocol::kTcp);
  EXPECT_EQ(metadata.code, Code::kPrivateAddress);
  EXPECT_EQ(AllowLine(*metadata.suggestion), "- { cidr: 169.254.169.254/32, ports: [80] }");
  EXPECT_EQ(wide.CheckAddress(Ip("127.0.0.1"), 80, Protocol::kTcp).code, Code::kPrivateAddress);

  const Rules loop = Make("    allow:\n      - { cidr: 127.0.0.1/32, ports: [80] }\n");
  EXPECT_EQ(loop.CheckAddress(Ip("127.0.0.1"), 80, Protocol::kTcp).code, Code::kAllowed);
  EXPECT_EQ(loop.CheckAddress(Ip("127.0.0.2"), 80, Protocol::kTcp).code, Code::kHostNotAllowed);
}

TEST(RulesTest, AllowAllStillKeepsTheHostItselfAndDenyRules) {
  auto open = policy::PolicyForImage("example.com/a@sha256:" + std::string(64, 'a'),
                                     policy::NetworkDefault::kAllow);
  ASSERT_TRUE(open.has_value());
  const Rules rules(*std::move(open));
  EXPECT_EQ(rules.CheckName("any.example", 1, Protocol::kUdp).code, Code::kAllowedAll);
  EXPECT_EQ(rules.CheckAddress(Ip("10.0.0.1"), 1, Protocol::kTcp).code, Code::kAllowedAll);
  EXPECT_EQ(rules.CheckAddress(Ip("127.0.0.1"), 1, Protocol::kTcp).code, Code::kPrivateAddress);
  EXPECT_EQ(rules.CheckAddress(Ip("224.0.0.1"), 1, Protocol::kUdp).code, Code::kUnsupported);
}

TEST(RulesTest, StagesSwitch) {
  Rules rules = Make(
      "    dependencies: { allow: [ deps.example.com:443 ] }\n"
      "    execution: { allow: [ run.example.com:443 ] }\n");
  EXPECT_FALSE(rules.CheckName("deps.example.com", 443, Protocol::kTcp).allowed());
  EXPECT_TRUE(rules.CheckName("run.example.com", 443, Protocol::kTcp).allowed());
  rules.SetStage(policy::Stage::kDependencies);
  EXPECT_TRUE(rules.CheckName("deps.example.com", 443, Protocol::kTcp).allowed());
  EXPECT_FALSE(rules.CheckName("run.example.com", 443, Protocol::kTcp).allowed());
}

}  // namespace
}  // namespace cleanroom::doors
