#include "rpc/gzip/gzip.h"

#include <gtest/gtest.h>

#include <string>

namespace cleanroom::rpc {
namespace {

constexpr size_t kLimit = 1 << 20;

std::string Noise(size_t size) {
  std::string out(size, '\0');
  uint64_t state = 1;
  for (char& c : out) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    c = static_cast<char>(state >> 56);
  }
  return out;
}

TEST(GzipTest, WhatWasPackedUnpacks) {
  for (const std::string& bytes : {std::string(), std::string("x"), std::string(100'000, 'y'),
                                   Noise(100'000), Noise(1 << 20)}) {
    const std::string packed = Gzip().Pack(bytes);
    const auto out = Gzip().Unpack(packed, kLimit);
    ASSERT_TRUE(out.has_value()) << out.error().ToString();
    EXPECT_TRUE(*out == bytes);
  }
  EXPECT_LT(Gzip().Pack(std::string(100'000, 'y')).size(), 1000U);
}

TEST(GzipTest, ExactlyTheLimitIsAllowed) {
  const std::string packed = Gzip().Pack(std::string(5000, 'y'));
  EXPECT_TRUE(Gzip().Unpack(packed, 5000).has_value());
  const auto more = Gzip().Unpack(packed, 4999);
  ASSERT_FALSE(more.has_value());
  EXPECT_EQ(more.error().code(), ErrorCode::kResourceExhausted);
}

TEST(GzipTest, ABombIsRefused) {
  const std::string packed = Gzip().Pack(std::string(size_t{64} << 20, '\0'));
  ASSERT_LT(packed.size(), size_t{2} << 20);
  const auto out = Gzip().Unpack(packed, kLimit);
  ASSERT_FALSE(out.has_value());
  EXPECT_EQ(out.error().code(), ErrorCode::kResourceExhausted);
}

TEST(GzipTest, DamageIsToldFromSize) {
  const std::string packed = Gzip().Pack(Noise(10'000));
  for (const std::string& bytes :
       {std::string(), std::string("no gzip"), packed.substr(0, packed.size() - 1),
        packed.substr(0, 5000), packed + "x", packed + packed,
        packed.substr(0, packed.size() - 6) + "zzzzzz"}) {
    const auto out = Gzip().Unpack(bytes, kLimit);
    ASSERT_FALSE(out.has_value());
    EXPECT_EQ(out.error().code(), ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace cleanroom::rpc
