#include "server/storage/stored_item.h"

#include <gtest/gtest.h>

namespace cleanroom::server {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using What = PruneRules::What;

constexpr int64_t kNow = 1'800'000'000;
constexpr int64_t kHour = 3600;

StoredItem Item(Pruning pruning, int64_t used_ago) {
  return {.kind = "template",
          .name = "one",
          .id = "one",
          .path = {},
          .made_at = kNow - 100 * kHour,
          .used_at = kNow - used_ago,
          .pruning = pruning};
}

TEST(IsPrunedTest, KeepsWhatIsUsedAndWhatIsNotItsOwn) {
  StoredItem item = Item(Pruning::kAlways, 10 * kHour);
  EXPECT_TRUE(IsPruned(item, {}, kNow));
  item.in_use = true;
  EXPECT_FALSE(IsPruned(item, {.what = What::kAll}, kNow));
  EXPECT_FALSE(IsPruned(Item(Pruning::kNever, 10 * kHour), {.what = What::kAll}, kNow));
}

TEST(IsPrunedTest, ImagesAndCachesNeedAll) {
  const StoredItem item = Item(Pruning::kWithAll, kHour);
  EXPECT_FALSE(IsPruned(item, {}, kNow));
  EXPECT_TRUE(IsPruned(item, {.what = What::kAll}, kNow));
}

TEST(IsPrunedTest, AgeCountsFromTheLastUse) {
  const PruneRules day = {.what = What::kAll, .older_than = hours(24)};
  EXPECT_FALSE(IsPruned(Item(Pruning::kAlways, 24 * kHour - 1), day, kNow));
  EXPECT_TRUE(IsPruned(Item(Pruning::kAlways, 24 * kHour), day, kNow));
  // Made later than it was last read, and used in the future.
  StoredItem item = Item(Pruning::kAlways, 48 * kHour);
  item.made_at = kNow - kHour;
  EXPECT_FALSE(IsPruned(item, day, kNow));
  item = Item(Pruning::kAlways, -kHour);
  EXPECT_FALSE(IsPruned(item, {.older_than = seconds(1)}, kNow));
  EXPECT_TRUE(IsPruned(item, {}, kNow));
}

TEST(IsPrunedTest, SomeThingsArePrunedOnlyAfterAWhile) {
  StoredItem item = Item(Pruning::kAlways, 2 * kHour);
  item.keep_unused = hours(3);
  EXPECT_FALSE(IsPruned(item, {}, kNow));
  EXPECT_TRUE(IsPruned(item, {}, kNow + kHour));
  EXPECT_TRUE(IsPruned(item, {.what = What::kAll}, kNow));
  EXPECT_TRUE(IsPruned(item, {.older_than = hours(1)}, kNow));
}

}  // namespace
}  // namespace cleanroom::server
