#include "policy/suggested_rule.h"

#include <gtest/gtest.h>

namespace cleanroom::policy {
namespace {

using Kind = SuggestedRule::Kind;

TEST(SuggestedRuleTest, IsALineOfAnAllowBlock) {
  EXPECT_EQ(AllowLine({Kind::kHost, "a.example.com", {443}}), "- a.example.com:443");
  EXPECT_EQ(AllowLine({Kind::kHost, "a.example.com", {80, 443}}),
            "- { host: a.example.com, ports: [80, 443] }");
  EXPECT_EQ(AllowLine({Kind::kHost, "a.example.com", {53}, Protocol::kUdp}),
            "- { host: a.example.com, ports: [53], protocol: udp }");
  EXPECT_EQ(AllowLine({Kind::kCidr, "10.1.2.3/32", {5432}}),
            "- { cidr: 10.1.2.3/32, ports: [5432] }");
}

TEST(SuggestedRuleTest, NothingThatADoorDoesNotMakeIsWellFormed) {
  EXPECT_TRUE(IsWellFormed({Kind::kHost, "a_b.example.com", {443}}));
  EXPECT_TRUE(IsWellFormed({Kind::kCidr, "2001:db8::1/128", {443}}));
  for (const SuggestedRule& rule : {
           SuggestedRule{Kind::kHost, "*", {443}},
           SuggestedRule{Kind::kHost, "*.example.com", {443}},
           SuggestedRule{Kind::kHost, "a.example.com\n  - b.example.com", {443}},
           SuggestedRule{Kind::kHost, "a.example.com }, { host: b", {443}},
           SuggestedRule{Kind::kHost, "a.example.com # x", {443}},
           SuggestedRule{Kind::kHost, "", {443}},
           SuggestedRule{Kind::kHost, std::string(254, 'a'), {443}},
           SuggestedRule{Kind::kHost, "a.example.com", {}},
           SuggestedRule{Kind::kHost, "a.example.com", {443, 0}},
           SuggestedRule{Kind::kCidr, "0.0.0.0/99", {443}},
           SuggestedRule{Kind::kCidr, "168.0.0.0/6", {443}},
           SuggestedRule{Kind::kCidr, "any", {443}},
       }) {
    EXPECT_FALSE(IsWellFormed(rule)) << rule.target;
  }
}

}  // namespace
}  // namespace cleanroom::policy
