#include "guest/exec/accounts.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "base/testing/result_matchers.h"
#include "os/file.h"

namespace cleanroom::guest {
namespace {

class AccountsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto dir = os::TempDir::Create();
    ASSERT_TRUE(dir);
    dir_.emplace(*std::move(dir));
    std::filesystem::create_directory(dir_->path() + "/etc");
    Write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:7:8::/home/ann:/bin/sh\n");
    Write("/etc/group", "more:x:9:ann\n");
    auto root = Root::Open(dir_->path());
    ASSERT_TRUE(root);
    root_.emplace(*std::move(root));
  }

  // In place: the file keeps its inode.
  void Write(const std::string& path, const std::string& text) {
    const auto file = os::Open(dir_->path() + path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ASSERT_TRUE(file);
    ASSERT_TRUE(os::WriteAll(file->get(), text, path));
  }

  // The files' times are old enough to be trusted from now on.
  void Settle() { ahead_ = std::chrono::seconds(2); }

  std::optional<os::TempDir> dir_;
  std::optional<Root> root_;
  std::chrono::seconds ahead_{0};
  Accounts accounts_{[this] { return std::chrono::system_clock::now() + ahead_; }};
};

TEST_F(AccountsTest, AChangedFileIsReadAgainWhetherItHadSettledOrNot) {
  for (const uid_t id : {uid_t{7}, uid_t{17}}) {
    for (int i = 0; i < 2; ++i) {
      const auto user = accounts_.Find(*root_, "ann");
      ASSERT_THAT(user, IsOk());
      EXPECT_EQ(user->uid, id);
    }
    if (id == 7) {
      Write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:17:8::/home/ann:/bin/sh\n");
    }
  }
  Settle();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(accounts_.Find(*root_, "ann")->groups, std::vector<gid_t>{9});
    EXPECT_EQ(accounts_.Find(*root_, "")->home, "/root");
  }
  Write("/etc/group", "others:x:5:ann\n");
  EXPECT_EQ(accounts_.Find(*root_, "ann")->groups, std::vector<gid_t>{5});
  Write("/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
  EXPECT_FALSE(accounts_.Find(*root_, "ann"));
}

TEST_F(AccountsTest, WithoutTheFilesThereAreNumbersAndRoot) {
  std::filesystem::remove(dir_->path() + "/etc/passwd");
  std::filesystem::remove(dir_->path() + "/etc/group");
  EXPECT_EQ(accounts_.Find(*root_, "")->uid, 0U);
  EXPECT_EQ(accounts_.Find(*root_, "12")->uid, 12U);
  EXPECT_FALSE(accounts_.Find(*root_, "ann"));
}

}  // namespace
}  // namespace cleanroom::guest
