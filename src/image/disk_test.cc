#include "image/disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "base/testing/result_matchers.h"
#include "tests/support/command.h"

namespace cleanroom::image {
namespace {

using testing::RunScript;
using testing::TestFolder;

class DiskTest : public ::testing::Test {
 protected:
  TestFolder folder_;
};

TEST_F(DiskTest, IsAnEmptySparseFileSystem) {
  for (const uint64_t mib : {16, 100, 1024, 16384, 100000}) {
    const std::string disk = folder_ / std::to_string(mib);
    const auto made = MakeEmptyDisk(folder_ / "cache", mib << 20, disk);
    ASSERT_THAT(made, IsOk());
    struct stat st;
    ASSERT_EQ(::stat(disk.c_str(), &st), 0);
    EXPECT_EQ(static_cast<uint64_t>(st.st_size), mib << 20);
    EXPECT_LT(st.st_blocks * 512, 16 << 20) << mib;
    if (mib <= 16384) {
      const auto check = RunScript("e2fsck -fn " + disk);
      EXPECT_EQ(check.status, 0) << mib << ": " << check.output;
    }
  }
}

TEST_F(DiskTest, CopiesAreIndependentAndQuick) {
  ASSERT_TRUE(MakeEmptyDisk(folder_ / "cache", 16ull << 30, folder_ / "first"));
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(
        MakeEmptyDisk(folder_ / "cache", 16ull << 30, folder_ / ("disk" + std::to_string(i))));
  const auto each = (std::chrono::steady_clock::now() - begin) / 10;
  RecordProperty(
      "microseconds",
      static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(each).count()));
  EXPECT_LT(each, std::chrono::milliseconds(
                      500));  // some ms; the bound only catches a copy that is not sparse
  EXPECT_EQ(RunScript("debugfs -w -R 'mkdir made' " + (folder_ / "disk0") +
                      " && ! debugfs -R 'stat made' " + (folder_ / "disk1") +
                      " 2>/dev/null | grep -q Inode")
                .status,
            0);
}

TEST_F(DiskTest, TheKernelWritesToIt) {
  const std::string disk = folder_ / "disk", mount = folder_ / "mnt";
  ASSERT_TRUE(MakeEmptyDisk(folder_ / "cache", 1 << 30, disk));
  if (::geteuid() != 0 ||
      RunScript("mkdir " + mount + " && mount -o loop " + disk + " " + mount).status != 0) {
    GTEST_SKIP() << "no loop mounts here";
  }
  const auto used = RunScript("cd " + mount +
                              " && head -c 50M /dev/urandom >big && for i in $(seq 2000); do echo "
                              "$i >f$i; done && rm f1*; cd /; umount " +
                              mount);
  EXPECT_EQ(used.status, 0) << used.output;
  const auto check = RunScript("e2fsck -fn " + disk);
  EXPECT_EQ(check.status, 0) << check.output;
}

TEST_F(DiskTest, CopiesToAnotherFileSystem) {
  const std::string disk = "/dev/shm/cleanroom-disk-test." + std::to_string(::getpid());
  const auto made = MakeEmptyDisk(folder_ / "cache", 64 << 20, disk);
  ASSERT_THAT(made, IsOk());
  ASSERT_TRUE(MakeEmptyDisk(folder_ / "cache", 64 << 20, folder_ / "here"));
  EXPECT_EQ(RunScript("cmp " + disk + " " + (folder_ / "here")).status, 0);
  ::unlink(disk.c_str());
}

TEST_F(DiskTest, BadRequests) {
  EXPECT_EQ(MakeEmptyDisk(folder_ / "cache", 1000, folder_ / "x").error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(MakeEmptyDisk(folder_ / "cache", 1ull << 60, folder_ / "x").error().code(),
            ErrorCode::kInvalidArgument);
  ASSERT_TRUE(MakeEmptyDisk(folder_ / "cache", 32 << 20, folder_ / "x"));
  EXPECT_EQ(MakeEmptyDisk(folder_ / "cache", 32 << 20, folder_ / "x").error().code(),
            ErrorCode::kAlreadyExists);
}

}  // namespace
}  // namespace cleanroom::image
