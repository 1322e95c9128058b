#include "guest/files/root.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/testing/result_matchers.h"
#include "os/file.h"

namespace cleanroom::guest {
namespace {

class RootTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = os::TempDir::Create();
    ASSERT_TRUE(made);
    top_.emplace(std::move(*made));
    ASSERT_TRUE(os::WriteFileAtomic(top_->path() + "/secret", "host"));
    ASSERT_TRUE(os::MakeDirs(top_->path() + "/root/etc", 0755));
    auto root = Root::Open(In(""));
    ASSERT_TRUE(root);
    root_.emplace(std::move(*root));
  }
  std::string In(const std::string& path) { return top_->path() + "/root" + path; }
  void Link(const std::string& target, const std::string& at) {
    ASSERT_EQ(symlink(target.c_str(), In(at).c_str()), 0);
  }

  std::optional<os::TempDir> top_;
  std::optional<Root> root_;
};

TEST_F(RootTest, ReadsWithinTheLimit) {
  ASSERT_TRUE(os::WriteFileAtomic(In("/etc/x"), "12345"));
  EXPECT_EQ(root_->ReadFile("/etc/x", 5).value(), "12345");
  EXPECT_EQ(root_->ReadFile("etc/x", 5).value(), "12345");
  EXPECT_EQ(root_->ReadFile("/etc/x", 4).error().code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(root_->ReadFile("/etc/y", 4).error().code(), ErrorCode::kNotFound);
}

TEST_F(RootTest, LinksAndDotsStayInside) {
  Link(top_->path() + "/secret", "/absolute");
  Link("../../../../../.." + top_->path() + "/secret", "/relative");
  // The same names do exist from the host's point of view.
  ASSERT_EQ(os::ReadFile(In("/absolute"), 100).value(), "host");
  EXPECT_EQ(root_->ReadFile("/absolute", 100).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(root_->ReadFile("/relative", 100).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(root_->ReadFile("../secret", 100).error().code(), ErrorCode::kNotFound);
  ASSERT_TRUE(os::WriteFileAtomic(In("/secret"), "inside"));
  Link("/secret", "/good");
  EXPECT_EQ(root_->ReadFile("/good", 100).value(), "inside");
  EXPECT_EQ(root_->ReadFile("../secret", 100).value(), "inside");
}

TEST_F(RootTest, OnlyRegularFilesAreRead) {
  ASSERT_EQ(mkfifo(In("/fifo").c_str(), 0600), 0);
  EXPECT_EQ(root_->ReadFile("/fifo", 10).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(root_->ReadFile("/etc", 10).error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(RootTest, VirtualFileSystemsAreNotRead) {
  const auto host = Root::Open("/");
  ASSERT_TRUE(host);
  EXPECT_EQ(host->ReadFile("/proc/version", 1000).error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(RootTest, ReplaceDoesNotWriteThroughALink) {
  ASSERT_TRUE(os::WriteFileAtomic(In("/other"), "old"));
  Link("/other", "/etc/hosts");
  ASSERT_TRUE(root_->ReplaceFile("/etc", "hosts", "new"));
  EXPECT_EQ(os::ReadFile(In("/etc/hosts"), 10).value(), "new");
  EXPECT_EQ(os::ReadFile(In("/other"), 10).value(), "old");
  struct stat info;
  ASSERT_EQ(lstat(In("/etc/hosts").c_str(), &info), 0);
  EXPECT_TRUE(S_ISREG(info.st_mode));
  EXPECT_EQ(info.st_mode & 0777, 0644U);
}

TEST_F(RootTest, ReplaceWritesOverWhatDiffersInContentsOnly) {
  const auto inode = [this](const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(lstat(In(path).c_str(), &info), 0);
    return info.st_ino;
  };
  ASSERT_TRUE(root_->ReplaceFile("/etc", "name", "first"));
  const auto first = inode("/etc/name");
  ASSERT_TRUE(root_->ReplaceFile("/etc", "name", "other"));
  EXPECT_EQ(root_->ReadFile("/etc/name", 10).value(), "other");
  EXPECT_EQ(inode("/etc/name"), first);
  // Another length, another mode, another name for the same file: replaced.
  ASSERT_TRUE(root_->ReplaceFile("/etc", "name", "longer"));
  EXPECT_EQ(root_->ReadFile("/etc/name", 10).value(), "longer");
  ASSERT_TRUE(root_->ReplaceFile("/etc", "name", "modest", 0444));
  struct stat info = {};
  ASSERT_EQ(stat(In("/etc/name").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, mode_t{0444});
  ASSERT_EQ(link(In("/etc/name").c_str(), In("/etc/alias").c_str()), 0);
  ASSERT_TRUE(root_->ReplaceFile("/etc", "name", "change", 0444));
  EXPECT_EQ(root_->ReadFile("/etc/name", 10).value(), "change");
  EXPECT_EQ(root_->ReadFile("/etc/alias", 10).value(), "modest");
}

TEST_F(RootTest, ReplaceSurvivesAPlantedTemporaryName) {
  Link("/other", "/etc/.cleanroom-new");
  ASSERT_TRUE(root_->ReplaceFile("/etc", "hosts", "new"));
  EXPECT_EQ(os::ReadFile(In("/etc/hosts"), 10).value(), "new");
  EXPECT_EQ(access(In("/other").c_str(), F_OK), -1);
}

TEST_F(RootTest, WritingKeepsALinkAndReplacesItsFile) {
  ASSERT_TRUE(os::WriteFileAtomic(In("/file"), "old"));
  Link("/two", "/etc/one");
  Link("etc/../file", "/two");
  const auto place = root_->LocateForWriting("/etc/one", {});
  ASSERT_THAT(place, IsOk());
  EXPECT_EQ(place->name, "file");
  auto writer =
      tree::FileWriter::Begin(os::UniqueFd(dup(place->folder.get())), place->name, {}, "/etc/one");
  ASSERT_THAT(writer, IsOk());
  ASSERT_THAT(writer->Write("new"), IsOk());
  EXPECT_EQ(os::ReadFile(In("/file"), 10).value(), "old");
  ASSERT_THAT(writer->Commit({.permissions = 0640, .mtime = timespec{.tv_sec = 77, .tv_nsec = 5}}),
              IsOk());
  EXPECT_EQ(os::ReadFile(In("/file"), 10).value(), "new");
  struct stat info;
  ASSERT_EQ(lstat(In("/file").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640U);
  EXPECT_EQ(info.st_mtim.tv_sec, 77);
  EXPECT_EQ(info.st_mtim.tv_nsec, 5);
}

TEST_F(RootTest, WritingIsRefusedWhereNoFileCanBe) {
  Link("b", "/a");
  Link("a", "/b");
  Link("/etc", "/folder");
  Link("/missing/file", "/dangling");
  Link("../../../../" + top_->path() + "/secret", "/out");
  ASSERT_EQ(mkfifo(In("/fifo").c_str(), 0600), 0);
  const auto code = [this](const std::string& path) {
    const auto place = root_->LocateForWriting(path, {});
    return place ? ErrorCode::kCanceled : place.error().code();
  };
  for (const char* path :
       {"/a", "/", "/etc", "/etc/", "/new/", "/folder", "/fifo", "/etc/..", "."}) {
    EXPECT_EQ(code(path), ErrorCode::kInvalidArgument) << path;
  }
  EXPECT_EQ(code("/dangling"), ErrorCode::kNotFound);
  EXPECT_EQ(code("/out"), ErrorCode::kNotFound);
  EXPECT_EQ(code("/made/on/the/way"), ErrorCode::kCanceled);
  EXPECT_EQ(access(In("/made/on/the").c_str(), F_OK), 0);
  const auto host = Root::Open("/");
  EXPECT_EQ(host->LocateForWriting("/proc/sys/kernel/hostname", {}).error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(host->OpenFolder("/proc").error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(RootTest, MakeDirsFollowsLinksInsideOnly) {
  ASSERT_TRUE(root_->MakeDirs("/a/b//c/"));
  EXPECT_EQ(access(In("/a/b/c").c_str(), F_OK), 0);
  Link(top_->path(), "/out");
  EXPECT_FALSE(root_->MakeDirs("/out/made"));
  EXPECT_EQ(access((top_->path() + "/made").c_str(), F_OK), -1);
  Link("/a", "/in");
  ASSERT_TRUE(root_->MakeDirs("/in/made"));
  EXPECT_EQ(access(In("/a/made").c_str(), F_OK), 0);
}

TEST_F(RootTest, MountPointsAreNoLinks) {
  ASSERT_TRUE(root_->MountPoint("/proc"));
  Link("/etc", "/sys");
  EXPECT_FALSE(root_->MountPoint("/sys"));
  ASSERT_TRUE(os::WriteFileAtomic(In("/dev"), ""));
  EXPECT_EQ(root_->MountPoint("/dev").error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace cleanroom::guest
