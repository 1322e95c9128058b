#include "os/socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "os/file.h"

namespace cleanroom::os {
namespace {

TEST(SocketTest, ListensAtLongPathsWithTheMode) {
  auto dir = TempDir::Create();
  ASSERT_TRUE(dir);
  const std::string deep = dir->path() + "/" + std::string(100, 'd') + "/" + std::string(100, 'e');
  ASSERT_TRUE(MakeDirs(deep));
  const std::string path = deep + "/cleanroom.sock";
  EXPECT_EQ(ConnectUnix(path).error().code(), ErrorCode::kNotFound);
  {
    auto listener = ListenUnix(path);
    ASSERT_TRUE(listener) << listener.error().ToString();
    struct stat info;
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600U);
    auto client = ConnectUnix(path);
    ASSERT_TRUE(client) << client.error().ToString();
    const UniqueFd server(accept(listener->get(), nullptr, nullptr));
    ASSERT_TRUE(server);
    auto peer = GetPeerCredentials(server.get());
    ASSERT_TRUE(peer);
    EXPECT_EQ(peer->pid, getpid());
    EXPECT_EQ(ListenUnix(path).error().code(), ErrorCode::kAlreadyExists);
  }
  EXPECT_EQ(ConnectUnix(path).error().code(), ErrorCode::kUnavailable);
  EXPECT_TRUE(ListenUnix(path));  // the stale file is replaced
  ASSERT_TRUE(WriteFileAtomic(deep + "/file", ""));
  EXPECT_EQ(ListenUnix(deep + "/file").error().code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(ListenUnix(deep + "/" + std::string(120, 'n')).error().code(),
            ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace cleanroom::os
