#include "server/warden/sandbox_user.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "base/testing/result_matchers.h"
#include "os/file.h"

namespace cleanroom::server {
namespace {

TEST(SandboxUserTest, ChoosesFromWhatTheNamespaceHas) {
  const auto host = UsersIn("         0          0 4294967295\n");
  ASSERT_TRUE(host);
  EXPECT_EQ(host->first, 0x70000000U);
  // A container: the upper half of the largest piece.
  EXPECT_EQ(UsersIn("0 1000 1\n1 100000 65536\n"), (UserRange{.first = 32769, .count = 32768}));
  EXPECT_EQ(UsersIn("0 1000 1\n"), std::nullopt);
  EXPECT_EQ(UsersIn("0 100000 8191\n"), std::nullopt);
  EXPECT_EQ(UsersIn(""), std::nullopt);
  EXPECT_EQ(UsersIn("0 0\nnonsense\n"), std::nullopt);
}

TEST(SandboxUserTest, EachSandboxsFolderGetsAnOwnerOfItsOwn) {
  const auto users = FindSandboxUsers();
  if (!users) GTEST_SKIP() << users.error().ToString();
  auto folder = os::TempDir::Create();
  ASSERT_TRUE(folder);
  const Layout layout(folder->path());
  std::set<uid_t> owners;
  constexpr int kSandboxes = 20;
  for (int i = 0; i < kSandboxes; ++i) {
    const SandboxId id("sandbox-" + std::to_string(i));
    ASSERT_TRUE(os::MakeDirs(layout.LiveOutputs(id)));
    ASSERT_TRUE(os::WriteFileAtomic(layout.Disk(id), "disk"));
    ASSERT_EQ(symlink("/etc/passwd", (layout.Sandbox(id) + "/link").c_str()), 0);
    const auto user = GiveToUser(*users, layout, id);
    ASSERT_THAT(user, IsOk());
    EXPECT_EQ(user->has_value(), users->has_value());
    if (!*user) continue;
    owners.insert(**user);
    for (const std::string& path : {layout.Sandbox(id), layout.LiveOutputs(id), layout.Disk(id)}) {
      struct stat info = {};
      ASSERT_EQ(stat(path.c_str(), &info), 0) << path;
      EXPECT_EQ(info.st_uid, **user) << path;
      EXPECT_EQ(info.st_gid, **user) << path;
    }
  }
  if (*users) {
    EXPECT_EQ(owners.size(), size_t{kSandboxes});
  }
  EXPECT_FALSE(owners.contains(0));
  struct stat passwd = {};
  ASSERT_EQ(stat("/etc/passwd", &passwd), 0);
  EXPECT_EQ(passwd.st_uid, 0U) << "what a link in the folder leads to stays whose it was";
}

}  // namespace
}  // namespace cleanroom::server
