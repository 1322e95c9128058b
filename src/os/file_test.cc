#include "os/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/testing/result_matchers.h"

namespace cleanroom::os {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TempDir::Create();
    ASSERT_THAT(made, IsOk());
    dir_.emplace(*std::move(made));
  }
  std::string Path(const std::string& name) const { return dir_->path() + "/" + name; }
  std::optional<TempDir> dir_;
};

TEST_F(FileTest, WritesWholeAndReadsWithinTheLimit) {
  ASSERT_TRUE(WriteFileAtomic(Path("f"), "one"));
  ASSERT_TRUE(WriteFileAtomic(Path("f"), std::string(5000, 'x'), 0644));
  EXPECT_EQ(*ReadFile(Path("f"), 5000), std::string(5000, 'x'));
  EXPECT_EQ(ReadFile(Path("f"), 4999).error().code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(*ReadFile("/dev/null", 0), "");
  struct stat info;
  ASSERT_EQ(stat(Path("f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0644U);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_->path()), {}), 1);
}

TEST_F(FileTest, ReplacesWithoutWaiting) {
  ASSERT_TRUE(ReplaceFile(Path("f"), "one"));
  ASSERT_TRUE(ReplaceFile(Path("f"), "two", 0640));
  EXPECT_EQ(*ReadFile(Path("f"), 100), "two");
  struct stat info;
  ASSERT_EQ(stat(Path("f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640U);
  ASSERT_TRUE(MakeDirs(Path("d/x")));
  EXPECT_FALSE(ReplaceFile(Path("d"), "over a folder"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_->path()), {}), 2);
}

TEST_F(FileTest, ErrorsNameThePath) {
  auto missing = ReadFile(Path("none"), 10);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), ErrorCode::kNotFound);
  EXPECT_NE(missing.error().message().find(Path("none")), std::string::npos);
  EXPECT_EQ(WriteFileAtomic(Path("no/dir"), "").error().code(), ErrorCode::kNotFound);
  auto dir = OpenDir(dir_->path());
  ASSERT_TRUE(dir);
  EXPECT_EQ(OpenAt(dir->get(), "../x", O_RDONLY).error().code(), ErrorCode::kInvalidArgument);
  ASSERT_EQ(symlink("/etc/passwd", Path("link").c_str()), 0);
  EXPECT_FALSE(OpenAt(dir->get(), "link", O_RDONLY));
}

TEST_F(FileTest, MakesDirectories) {
  ASSERT_TRUE(MakeDirs(Path("a/b//c/")));
  ASSERT_TRUE(MakeDirs(Path("a/b/c/d")));
  EXPECT_TRUE(std::filesystem::is_directory(Path("a/b/c/d")));
  ASSERT_TRUE(WriteFileAtomic(Path("file"), ""));
  EXPECT_FALSE(MakeDirs(Path("file/x")));
}

constexpr std::chrono::milliseconds kLockWait{20};

TEST_F(FileTest, OneHolderPerLock) {
  {
    auto held = FileLock::Acquire(Path("lock"), kLockWait);
    ASSERT_TRUE(held);
    EXPECT_EQ(FileLock::Acquire(Path("lock"), kLockWait).error().code(),
              ErrorCode::kDeadlineExceeded);
  }
  EXPECT_TRUE(FileLock::Acquire(Path("lock"), kLockWait));
}

TEST_F(FileTest, TempDirIsRemoved) {
  const std::string path = dir_->path();
  ASSERT_TRUE(WriteFileAtomic(Path("f"), "x"));
  dir_.reset();
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace cleanroom::os
