#include "base/token_bucket.h"

#include <gtest/gtest.h>

namespace cleanroom {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const TokenBucket::Clock::time_point kStart{seconds(1000)};

TEST(TokenBucketTest, BurstThenRate) {
  TokenBucket bucket(3, 2);
  EXPECT_TRUE(bucket.Take(kStart, 2));
  EXPECT_FALSE(bucket.Take(kStart, 2));
  EXPECT_TRUE(bucket.Take(kStart));
  EXPECT_FALSE(bucket.Take(kStart + milliseconds(499)));
  EXPECT_TRUE(bucket.Take(kStart + milliseconds(500)));
  EXPECT_FALSE(bucket.Take(kStart + milliseconds(500)));
  // Idle time fills it to the brim, no further; time that goes back gives nothing.
  EXPECT_TRUE(bucket.Take(kStart + seconds(3600), 3));
  EXPECT_FALSE(bucket.Take(kStart + seconds(3600)));
  EXPECT_FALSE(bucket.Take(kStart));
}

TEST(TokenBucketTest, AReserveStays) {
  TokenBucket bucket(4, 1);
  EXPECT_TRUE(bucket.Take(kStart, 1, 2));
  EXPECT_TRUE(bucket.Take(kStart, 1, 2));
  EXPECT_FALSE(bucket.Take(kStart, 1, 2));
  EXPECT_TRUE(bucket.Take(kStart));
}

}  // namespace
}  // namespace cleanroom
