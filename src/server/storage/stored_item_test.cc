#include "server/storage/stored_item.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include "os/file.h"

namespace cleanroom::server {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using What = PruneRules::What;

constexpr int64_t kNow = 1'800'000'000;
constexpr int64_t kHour = 3600;

StoredItem Item(Pruning pruning, int64_t used_ago) {
  return {.kind = StoredKind::kTemplate,
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

class ScanFoldersTest : public testing::Test {
 protected:
  void Put(const std::string& path, size_t bytes) {
    const std::filesystem::path target = folder_.path() + "/" + path;
    std::filesystem::create_directories(target.parent_path());
    ASSERT_TRUE(os::WriteFileAtomic(target, std::string(bytes, 'x')));
  }
  // By "kind name".
  std::map<std::string, StoredItem> Scan(int64_t now) {
    const std::string state = folder_.path() + "/state";
    std::map<std::string, StoredItem> found;
    for (StoredItem& item : ScanFolders(Layout(state), state, folder_.path() + "/cache", now)) {
      const std::string key = std::string(ToString(item.kind)) + " " + item.name;
      EXPECT_FALSE(found.contains(key)) << key;
      found[key] = std::move(item);
    }
    return found;
  }

  os::TempDir folder_ = std::move(*os::TempDir::Create());
};

TEST_F(ScanFoldersTest, FindsEverythingAndHowItGoes) {
  Put("state/records.db", 1);
  Put("state/records.db-wal", 1);
  Put("state/sandboxes/01aaa/disk.img", 100'000);
  Put("state/executions/01bbb.log", 10'000);
  Put("state/executions/01bbb/execution-observability.json", 10'000);
  Put("state/executions/01ccc.log", 1);
  Put("state/audit/2026-11-22.jsonl", 1);
  Put("state/templates/key/memory", 1);  // the template store's
  Put("cache/images/sha256-aa/rootfs.ext4", 1);
  Put("cache/kernels/6.1/vmlinux", 50'000);
  Put("cache/kernels/.lock", 1);
  Put("cache/initramfs/abc.cpio", 1);
  Put("cache/empty-v1-8589934592.ext4", 1);
  Put("cache/empty-v1-8589934592.ext4.Ab12Cd", 1);
  Put("cache/tmp/pull/layer", 1);
  const int64_t now = time(nullptr);

  auto found = Scan(now);
  std::map<std::string, Pruning> pruning;
  for (const auto& [key, item] : found) pruning[key] = item.pruning;
  EXPECT_THAT(pruning, testing::UnorderedElementsAre(
                           testing::Pair("records records.db", Pruning::kNever),
                           testing::Pair("records records.db-wal", Pruning::kNever),
                           testing::Pair("sandbox 01aaa", Pruning::kNever),
                           testing::Pair("execution 01bbb", Pruning::kNever),
                           testing::Pair("execution 01ccc", Pruning::kNever),
                           testing::Pair("audit 2026-11-22.jsonl", Pruning::kNever),
                           testing::Pair("kernel kernels/6.1", Pruning::kWithAll),
                           testing::Pair("kernel kernels/.lock", Pruning::kNever),
                           testing::Pair("kernel initramfs/abc.cpio", Pruning::kWithAll),
                           testing::Pair("cache empty-v1-8589934592.ext4", Pruning::kWithAll),
                           testing::Pair("cache empty-v1-8589934592.ext4.Ab12Cd", Pruning::kNever),
                           testing::Pair("cache tmp", Pruning::kNever)));
  EXPECT_GE(found["sandbox 01aaa"].bytes, 100'000U);
  EXPECT_GE(found["execution 01bbb"].bytes, 20'000U);
  EXPECT_LT(found["execution 01ccc"].bytes, 20'000U);
  EXPECT_GE(found["kernel kernels/6.1"].bytes, 50'000U);
  EXPECT_GE(found["kernel kernels/6.1"].made_at, now - 60);

  // Nobody makes it any more.
  EXPECT_EQ(Scan(now + 2 * kHour)["cache empty-v1-8589934592.ext4.Ab12Cd"].pruning,
            Pruning::kWithAll);
}

TEST_F(ScanFoldersTest, MissingFoldersHoldNothing) { EXPECT_TRUE(Scan(kNow).empty()); }

TEST_F(ScanFoldersTest, CountsAllocatedRoomAndFollowsNoLinks) {
  Put("outside/large", 1 << 20);
  Put("state/sandboxes/01aaa/small", 1);
  const std::string sandbox = folder_.path() + "/state/sandboxes/01aaa";
  std::filesystem::create_directory_symlink(folder_.path() + "/outside", sandbox + "/link");
  ASSERT_EQ(truncate((sandbox + "/small").c_str(), 1 << 30), 0);  // a hole
  EXPECT_LT(Scan(kNow)["sandbox 01aaa"].bytes, 100'000U);
  EXPECT_GE(RoomTaken(folder_.path() + "/outside"), 1U << 20);
  EXPECT_EQ(RoomTaken(folder_.path() + "/nothing"), 0U);
}

}  // namespace
}  // namespace cleanroom::server
