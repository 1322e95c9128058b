#include "cli/output/suggestion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "policy/load.h"

namespace cleanroom::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

v1::SuggestedRule Host(std::string host, int port, const char* protocol = "tcp") {
  v1::SuggestedRule rule;
  rule.set_host(std::move(host));
  rule.add_ports(port);
  rule.set_protocol(protocol);
  return rule;
}

v1::SuggestedRule Block(std::string cidr, int port) {
  v1::SuggestedRule rule;
  rule.set_cidr(std::move(cidr));
  rule.add_ports(port);
  rule.set_protocol("tcp");
  return rule;
}

v1::NetworkDecision Refused(std::string service, std::string destination, int port,
                            std::optional<v1::SuggestedRule> rule,
                            std::string code = "host_not_allowed") {
  v1::NetworkDecision decision;
  decision.set_service(std::move(service));
  decision.set_destination(std::move(destination));
  decision.set_port(port);
  if (rule) *decision.mutable_rule() = std::move(*rule);
  decision.set_reason_code(std::move(code));
  return decision;
}

TEST(SuggestionTest, MergesSortsAndSaysWhy) {
  const std::vector<v1::NetworkDecision> decisions = {
      Refused("tcp", "z.example.com", 443, Host("z.example.com", 443)),
      Refused("tcp", "a.example.com", 8080, Host("a.example.com", 8080), "port_not_allowed"),
      Refused("tcp", "a.example.com", 443, Host("a.example.com", 443)),
      Refused("tcp", "a.example.com", 443, Host("a.example.com", 443)),
      Refused("udp", "a.example.com", 53, Host("a.example.com", 53, "udp")),
      Refused("tcp", "10.1.2.3", 5432, Block("10.1.2.3/32", 5432), "private_address"),
      Refused("tcp", "2001:db8::1", 22, Block("2001:db8::1/128", 22)),
  };
  EXPECT_EQ(ToYaml(Suggest(decisions)),
            "# The sandbox chose these destinations: allow only what you know.\n"
            "allow:\n"
            "  - { host: a.example.com, ports: [443, 8080] }  # host_not_allowed, "
            "port_not_allowed\n"
            "  - { host: a.example.com, ports: [53], protocol: udp }  # host_not_allowed\n"
            "  - z.example.com:443  # host_not_allowed\n"
            "  - { cidr: 10.1.2.3/32, ports: [5432] }  # private_address\n"
            "  - { cidr: 2001:db8::1/128, ports: [22] }  # host_not_allowed\n");
}

TEST(SuggestionTest, LinkLocalAddressesAreNotOffered) {
  std::vector<v1::NetworkDecision> decisions = {
      Refused("tcp", "169.254.169.254", 80, Block("169.254.169.254/32", 80), "private_address"),
      Refused("tcp", "fe80::1", 80, Block("fe80::1/128", 80), "private_address"),
  };
  EXPECT_EQ(ToYaml(Suggest(decisions)),
            "allow: []\n"
            "# Link-local, where clouds hand out a machine's credentials: not for untrusted code.\n"
            "#   - { cidr: 169.254.169.254/32, ports: [80] }  # private_address\n"
            "#   - { cidr: fe80::1/128, ports: [80] }  # private_address\n");
  decisions.push_back(Refused("tcp", "a.example.com", 443, Host("a.example.com", 443)));
  EXPECT_THAT(ToYaml(Suggest(decisions)), HasSubstr("allow:\n  - a.example.com:443"));
  EXPECT_THAT(ToJson(Suggest(decisions)), HasSubstr("\"link_local\": true"));
}

// What is printed is what the policy parser takes.
TEST(SuggestionTest, IsAPolicy) {
  const std::vector<v1::NetworkDecision> decisions = {
      Refused("tcp", "a.example.com", 443, Host("a.example.com", 443)),
      Refused("tcp", "a.example.com", 80, Host("a.example.com", 80)),
      Refused("udp", "b.example.com", 53, Host("b.example.com", 53, "udp")),
      Refused("tcp", "10.1.2.3", 5432, Block("10.1.2.3/32", 5432)),
      Refused("tcp", "192.0.2.7", 443, std::nullopt, "malformed"),
  };
  std::string text =
      "version: 1\nsandbox:\n  image: { ref: registry.example/base@sha256:" + std::string(64, 'a') +
      " }\n  network:\n    default: deny\n";
  const std::string yaml = ToYaml(Suggest(decisions));
  for (size_t at = 0; at < yaml.size();) {
    const size_t end = yaml.find('\n', at);
    text += "    " + yaml.substr(at, end + 1 - at);
    at = end + 1;
  }
  const auto parsed = policy::Parse(text, "cleanroom.yaml");
  ASSERT_TRUE(parsed) << document::Format(parsed.error()) << "\n" << text;
}

TEST(SuggestionTest, APortOfAQuestionForANameIsAGuess) {
  std::vector<v1::NetworkDecision> decisions = {
      Refused("dns", "a.example.com", 0, Host("a.example.com", 443))};
  auto suggestion = Suggest(decisions);
  EXPECT_TRUE(suggestion.lines[0].port_guessed);
  EXPECT_THAT(ToYaml(suggestion), HasSubstr("the port is a guess"));
  decisions.push_back(Refused("tcp", "a.example.com", 22, Host("a.example.com", 22)));
  suggestion = Suggest(decisions);
  EXPECT_FALSE(suggestion.lines[0].port_guessed);
  EXPECT_THAT(suggestion.lines[0].rule.ports, ElementsAre(22));
}

TEST(SuggestionTest, WhatNoRuleAllowsIsListed) {
  auto bad = Refused("tcp", "192.0.2.7", 443, std::nullopt, "malformed");
  bad.set_message("not TLS\x1b[2J\nallow: everything");
  const auto suggestion = Suggest({bad});
  EXPECT_THAT(suggestion.lines, IsEmpty());
  const std::string yaml = ToYaml(suggestion);
  EXPECT_EQ(yaml,
            "allow: []\n"
            "# Refused, and no rule of `allow` can change that:\n"
            "#   tcp 192.0.2.7:443 (malformed): not TLS\\x1b[2J\\x0aallow: everything\n");
}

TEST(SuggestionTest, NothingThatADoorDoesNotMakeBecomesARule) {
  v1::SuggestedRule no_port = Host("a.example.com", 443);
  no_port.clear_ports();
  for (const v1::SuggestedRule& rule :
       {Host("*", 443), Host("*.com", 443), Host("a.example.com\n  - b.example.com", 443),
        Host("a.example.com # x", 443), Host("a.example.com", 0), Host("a.example.com", 65536),
        Host("a.example.com", -1), Host("", 443), Block("0.0.0.0/99", 443),
        Block("168.0.0.0/6", 443), Block("any", 443), no_port, v1::SuggestedRule()}) {
    const auto suggestion = Suggest({Refused("tcp", "a.example.com", 443, rule)});
    EXPECT_THAT(suggestion.lines, IsEmpty()) << rule.host();
    EXPECT_EQ(suggestion.others.size(), 1U) << rule.host();
  }
}

TEST(SuggestionTest, LinesOfEarlierReleasesAreShownUnchecked) {
  auto old = Refused("tcp", "a.example.com", 443, std::nullopt);
  old.set_suggestion("- a.example.com:443\n  - b.example.com:443");
  const auto suggestion = Suggest({old});
  EXPECT_THAT(suggestion.lines, IsEmpty());
  EXPECT_EQ(ToYaml(suggestion),
            "allow: []\n"
            "# What a warden of an earlier release suggests: unchecked, so look before you take "
            "it.\n"
            "#   - a.example.com:443\\x0a  - b.example.com:443\n");
}

TEST(SuggestionTest, NothingRefusedIsSaid) {
  v1::NetworkDecision allowed;
  allowed.set_allowed(true);
  allowed.set_reason_code("allowed");
  EXPECT_EQ(ToYaml(Suggest({allowed})), "# Nothing was refused.\nallow: []\n");
  EXPECT_EQ(ToJson(Suggest({})), "{\n  \"allow\": [],\n  \"not_allowable\": []\n}\n");
}

}  // namespace
}  // namespace cleanroom::cli
