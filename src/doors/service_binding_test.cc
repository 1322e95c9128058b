#include "doors/service_binding.h"

#include <gtest/gtest.h>

namespace cleanroom::doors {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes Join(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

const Bytes kPriority{0, 1};
const Bytes kOwner{0};
const Bytes kTarget{3, 'c', 'd', 'n', 1, 'x', 0};
const Bytes kAlpn{0, 1, 0, 3, 2, 'h', '2'};
const Bytes kPort{0, 3, 0, 2, 0x20, 0xFB};
const Bytes kIpv4Hint{0, 4, 0, 4, 10, 0, 0, 1};
const Bytes kEch{0, 5, 0, 2, 0xFE, 0x0D};
const Bytes kIpv6Hint{0, 6, 0, 16, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
const Bytes kPrivateKey{0xFF, 0, 0, 1, 'x'};

TEST(ServiceBindingTest, HintsEchAndTheUnknownAreLeftOut) {
  const auto cut = CutServiceBinding(
      Join({kPriority, kOwner, kAlpn, kPort, kIpv4Hint, kEch, kIpv6Hint, kPrivateKey}));
  ASSERT_TRUE(cut.has_value());
  EXPECT_EQ(cut->target, ".");
  EXPECT_EQ(cut->data, Join({kPriority, kOwner, kAlpn, kPort}));
}

TEST(ServiceBindingTest, TheTargetIsTold) {
  const auto alias = CutServiceBinding(Join({{0, 0}, kTarget}));
  ASSERT_TRUE(alias.has_value());
  EXPECT_EQ(alias->target, "cdn.x");
  EXPECT_EQ(alias->data, Join({{0, 0}, kTarget}));
}

TEST(ServiceBindingTest, WhatIsMandatoryMustBeLeft) {
  EXPECT_TRUE(CutServiceBinding(Join({kPriority, kOwner, {0, 0, 0, 2, 0, 1}, kAlpn})).has_value());
  EXPECT_FALSE(CutServiceBinding(Join({kPriority, kOwner, {0, 0, 0, 2, 0, 5}, kEch})).has_value());
  EXPECT_FALSE(
      CutServiceBinding(Join({kPriority, kOwner, {0, 0, 0, 4, 0, 1, 0, 4}, kAlpn, kIpv4Hint}))
          .has_value());
  EXPECT_FALSE(CutServiceBinding(Join({kPriority, kOwner, {0, 0, 0, 1, 0}})).has_value());
}

TEST(ServiceBindingTest, MalformedDataIsNone) {
  const Bytes whole = Join({kPriority, kTarget, kAlpn, kPort});
  int valid = 0;
  for (size_t size = 0; size <= whole.size(); ++size) {
    if (CutServiceBinding(std::span(whole).first(size))) ++valid;
  }
  EXPECT_EQ(valid, 3);  // it may end after the target and after each parameter
  EXPECT_FALSE(CutServiceBinding(Join({kPriority, kOwner, kPort, kAlpn})).has_value());
  EXPECT_FALSE(CutServiceBinding(Join({kPriority, kOwner, kAlpn, kAlpn})).has_value());
  EXPECT_FALSE(CutServiceBinding(Join({kPriority, {0xC0, 0x0C}})).has_value());
  Bytes endless = kPriority;
  for (int i = 0; i < 200; ++i) endless.insert(endless.end(), {1, 'a'});
  endless.push_back(0);
  EXPECT_FALSE(CutServiceBinding(endless).has_value());
}

}  // namespace
}  // namespace cleanroom::doors
