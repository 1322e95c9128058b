// A channel that hangs up with a goodbye: its stream is then as good as new.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <chrono>

#include "cleanroom/v1/error.pb.h"
#include "rpc/testing/link.h"

namespace cleanroom::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using Ping = v1::ErrorDetail;  // any message

Awaitable<Result<Ping>> Answer() { co_return Ping(); }

// As a guest's agent: it serves the same end of the stream again and again.
Awaitable<void> ServeAgain(const Server& server, int fd, int times) {
  const auto executor = co_await asio::this_coro::executor;
  for (int i = 0; i < times; ++i) {
    co_await server.Serve(http::AdoptSocket(executor, fcntl(fd, F_DUPFD_CLOEXEC, 0)));
  }
}

Awaitable<void> CallAndHangUp(int fd, int times) {
  const auto executor = co_await asio::this_coro::executor;
  for (int i = 0; i < times; ++i) {
    auto channel = Channel::Create(http::AdoptSocket(executor, fcntl(fd, F_DUPFD_CLOEXEC, 0)), {});
    auto answer = co_await channel->Call<Ping>("/test/Ping", Ping());
    EXPECT_TRUE(answer.has_value()) << i << answer.error().ToString();
    auto said = co_await channel->HangUp(steady_clock::now() + seconds(20));
    EXPECT_TRUE(said.has_value()) << i << said.error().ToString();
    EXPECT_FALSE(channel->alive());
    co_await channel->Close();
    char byte = 0;
    EXPECT_EQ(recv(fd, &byte, 1, MSG_DONTWAIT), -1) << "something of it is left";
  }
}

TEST(GoodbyeTest, TheStreamIsFreeForTheNextConnection) {
  constexpr int kTimes = 20;
  asio::io_context io(1);
  Router router;
  router.Unary<Ping, Ping>("/test/Ping", [](CallContext&, Ping) { return Answer(); });
  const Server server(router, {}, nullptr);
  std::array<int, 2> fds{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  TaskScope scope(io.get_executor());
  scope.Spawn(ServeAgain(server, fds[0], kTimes));
  scope.Spawn(CallAndHangUp(fds[1], kTimes));
  while (scope.size() > 0) io.run_one();
  for (const int fd : fds) close(fd);
}

Awaitable<void> HangUpOn(Channel& channel, Result<void>* out) {
  auto said = co_await channel.HangUp(steady_clock::now() + milliseconds(50));
  *out = said;
  co_await channel.Close();
}

TEST(GoodbyeTest, APeerThatSaysNoneIsNotWaitedForLonger) {
  asio::io_context io(1);
  auto [near, far] = StreamPair(io);  // nobody reads at the far end
  const auto channel = Channel::Create(std::move(near), {});
  TaskScope scope(io.get_executor());
  Result<void> said;
  scope.Spawn(HangUpOn(*channel, &said));
  while (scope.size() > 0) io.run_one();
  ASSERT_FALSE(said.has_value());
  EXPECT_EQ(said.error().code(), ErrorCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace cleanroom::rpc
