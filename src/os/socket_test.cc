#include "os/socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>

#include "base/testing/result_matchers.h"
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
    ASSERT_THAT(listener, IsOk());
    struct stat info;
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600U);
    auto client = ConnectUnix(path);
    ASSERT_THAT(client, IsOk());
    const UniqueFd server(accept(listener->get(), nullptr, nullptr));
    ASSERT_TRUE(server);
    EXPECT_EQ(ListenUnix(path).error().code(), ErrorCode::kAlreadyExists);
  }
  EXPECT_EQ(ConnectUnix(path).error().code(), ErrorCode::kUnavailable);
  EXPECT_TRUE(ListenUnix(path));  // the stale file is replaced
  ASSERT_TRUE(WriteFileAtomic(deep + "/file", ""));
  EXPECT_EQ(ListenUnix(deep + "/file").error().code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(ListenUnix(deep + "/" + std::string(120, 'n')).error().code(),
            ErrorCode::kInvalidArgument);
}

TEST(SocketTest, HandsDescriptorsOver) {
  auto pair = SocketPair();
  auto other = SocketPair();
  ASSERT_TRUE(pair && other);
  const std::string text(10'000, 't');
  const std::array<int, 2> fds = {other->first.get(), other->second.get()};
  ASSERT_TRUE(SendHandover(pair->first.get(), fds, text));
  pair->first.reset();
  auto handover = ReceiveHandover(pair->second.get());
  ASSERT_THAT(handover, IsOk());
  EXPECT_EQ(handover->text, text);
  ASSERT_EQ(handover->fds.size(), 2U);
  EXPECT_EQ(fcntl(handover->fds[0].get(), F_GETFD), FD_CLOEXEC);
  ASSERT_TRUE(WriteAll(handover->fds[0].get(), "x", "socket"));
  char byte = 0;
  EXPECT_EQ(read(other->second.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');

  EXPECT_EQ(ReceiveHandover(pair->second.get()).error().code(), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace cleanroom::os
