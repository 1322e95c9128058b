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

// What it takes of the host, in KiB.
int64_t Taken(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 ? st.st_blocks / 2 : -1;
}

TEST_F(DiskTest, IsAnEmptySparseFileSystem) {
  for (const uint64_t mib : {16, 100, 1024, 16384, 100000, 1 << 20}) {
    const std::string disk = folder_ / std::to_string(mib);
    ASSERT_THAT(MakeEmptyDisk(mib << 20, disk), IsOk());
    struct stat st;
    ASSERT_EQ(::stat(disk.c_str(), &st), 0);
    EXPECT_EQ(static_cast<uint64_t>(st.st_size), mib << 20);
    EXPECT_LT(Taken(disk), 2048) << mib;
    const auto check = RunScript("e2fsck -fn " + disk);
    EXPECT_EQ(check.status, 0) << mib << ": " << check.output;
  }
}

// A file system that does not tell where a file has holes (9p, older NFS) would have such a disk
// copied whole.
TEST_F(DiskTest, ASizeCostsNothing) {
  ASSERT_THAT(MakeEmptyDisk(8ull << 30, folder_ / "usual"), IsOk());
  EXPECT_LT(Taken(folder_ / "usual"), 64);
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_THAT(MakeEmptyDisk(1ull << 40, folder_ / "large"), IsOk());
  ASSERT_THAT(CopyDisk(folder_ / "large", folder_ / "copy"), IsOk());
  const auto took = std::chrono::steady_clock::now() - begin;
  // Some 50 ms; the bound only catches what is written for each group.
  EXPECT_LT(took, std::chrono::seconds(2));
  EXPECT_LT(Taken(folder_ / "copy"), 2048);
  EXPECT_EQ(RunScript("cmp -n 64M " + (folder_ / "large") + " " + (folder_ / "copy")).status, 0);
}

TEST_F(DiskTest, CopiesAreIndependent) {
  ASSERT_THAT(MakeEmptyDisk(64 << 20, folder_ / "disk"), IsOk());
  ASSERT_THAT(CopyDisk(folder_ / "disk", folder_ / "copy"), IsOk());
  EXPECT_EQ(RunScript("debugfs -w -R 'mkdir made' " + (folder_ / "disk") +
                      " && ! debugfs -R 'stat made' " + (folder_ / "copy") +
                      " 2>/dev/null | grep -q Inode")
                .status,
            0);
}

TEST_F(DiskTest, TheKernelWritesToIt) {
  for (const uint64_t gib : {1, 64}) {
    const std::string disk = folder_ / std::to_string(gib), mount = folder_ / "mnt";
    ASSERT_THAT(MakeEmptyDisk(gib << 30, disk), IsOk());
    if (::geteuid() != 0 ||
        RunScript("mkdir -p " + mount + " && mount -o loop,init_itable=0 " + disk + " " + mount)
                .status != 0) {
      GTEST_SKIP() << "no loop mounts here";
    }
    const auto used =
        RunScript("cd " + mount +
                  " && head -c 50M /dev/urandom >big && seq 2000 | split -l 1 -a 3 - f && "
                  "seq -f d%g 2000 | xargs mkdir && rm fa*; cd /; umount " +
                  mount);
    EXPECT_EQ(used.status, 0) << used.output;
    const auto check = RunScript("e2fsck -fn " + disk);
    EXPECT_EQ(check.status, 0) << check.output;
    EXPECT_LT(Taken(disk), 128 << 10);  // inode tables alone have 1 GiB of 64
  }
}

TEST_F(DiskTest, CopiesToAnotherFileSystem) {
  const std::string copy = "/dev/shm/cleanroom-disk-test." + std::to_string(::getpid());
  ASSERT_THAT(MakeEmptyDisk(64 << 20, folder_ / "disk"), IsOk());
  EXPECT_THAT(CopyDisk(folder_ / "disk", copy), IsOk());
  EXPECT_EQ(RunScript("cmp " + copy + " " + (folder_ / "disk")).status, 0);
  ::unlink(copy.c_str());
}

TEST_F(DiskTest, BadRequests) {
  for (const uint64_t size : {uint64_t{1000}, uint64_t{1} << 60}) {
    const auto made = MakeEmptyDisk(size, folder_ / "x");
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(Taken(folder_ / "x"), -1);
  }
  ASSERT_THAT(MakeEmptyDisk(32 << 20, folder_ / "x"), IsOk());
  const auto again = MakeEmptyDisk(32 << 20, folder_ / "x");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), ErrorCode::kAlreadyExists);
}

}  // namespace
}  // namespace cleanroom::image
