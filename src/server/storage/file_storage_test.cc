#include "server/storage/file_storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <map>

#include "os/file.h"

namespace cleanroom::server {
namespace {

constexpr int64_t kNow = 1'800'000'000;
constexpr int64_t kHour = 3600;

class FileStorageTest : public testing::Test {
 protected:
  void Put(const std::string& path, size_t bytes) {
    const std::filesystem::path target = folder_.path() + "/" + path;
    std::filesystem::create_directories(target.parent_path());
    ASSERT_TRUE(os::WriteFileAtomic(target, std::string(bytes, 'x')));
  }
  // By "kind name".
  std::map<std::string, StoredItem> Scan(int64_t now) {
    const std::string state = folder_.path() + "/state";
    const std::string cache = folder_.path() + "/cache";
    const WallClock clock = [now] { return std::chrono::system_clock::from_time_t(now); };
    const BootsWith nothing = [] { return LaunchMachine(); };
    const Layout layout(state);
    KernelStorage kernels(pool_, clock, cache, nothing);
    RecordStorage records(pool_, clock, state, layout);
    CacheStorage caches(pool_, clock, cache, {"images", "kernels", "initramfs"});
    Storage storage({&kernels, &records, &caches}, clock);
    std::map<std::string, StoredItem> found;
    for (StoredItem& item : List(storage)) {
      const std::string key = std::string(item.kind) + " " + item.name;
      EXPECT_FALSE(found.contains(key)) << key;
      found[key] = std::move(item);
    }
    return found;
  }
  static Awaitable<void> DoList(Storage& storage, std::vector<StoredItem>* out) {
    auto items = co_await storage.List();
    EXPECT_TRUE(items);
    if (items) *out = *std::move(items);
  }
  std::vector<StoredItem> List(Storage& storage) {
    std::vector<StoredItem> items;
    io_.restart();
    TaskScope scope(io_.get_executor());
    scope.Spawn(DoList(storage, &items));
    io_.run();
    return items;
  }

  asio::io_context io_{1};
  BlockingPool pool_{1};
  os::TempDir folder_ = std::move(*os::TempDir::Create());
};

TEST_F(FileStorageTest, FindsEverythingAndHowItGoes) {
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

TEST_F(FileStorageTest, MissingFoldersHoldNothing) { EXPECT_TRUE(Scan(kNow).empty()); }

TEST_F(FileStorageTest, CountsAllocatedRoomAndFollowsNoLinks) {
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
