// The spike that everything asynchronous stands on: coroutine, cancellation, deadline and error
// patterns, proved on this compiler. scripts/test runs it under ASan too.
#include "base/async.h"

#include <gtest/gtest.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>
#include <thread>

namespace cleanroom {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Socket = asio::local::stream_protocol::socket;

// Runs one coroutine to its end on a fresh io_context and returns what it returned.
template <typename T>
T RunOne(asio::io_context& io, Awaitable<T> task) {
  std::optional<T> out;
  asio::co_spawn(io, std::move(task), [&out](const std::exception_ptr& failure, T value) {
    if (failure) std::rethrow_exception(failure);
    out.emplace(std::move(value));
  });
  io.run();
  io.restart();
  return std::move(*out);
}

Awaitable<Result<size_t>> ReadSome(Socket& socket) {
  std::array<char, 64> buffer{};
  auto [error, n] = co_await socket.async_read_some(asio::buffer(buffer), kAwait);
  if (error) co_return Err(ErrorCode::kCanceled, error.message());
  co_return n;
}

Awaitable<Result<std::string>> ReadTwiceFails(Socket& socket) {
  CR_CO_TRY_ASSIGN(const size_t first, co_await ReadSome(socket));
  CR_CO_TRY_ASSIGN(const size_t second, co_await ReadSome(socket));
  co_return std::to_string(first) + "+" + std::to_string(second);
}

TEST(AsyncTest, ErrorsTravelThroughAwaits) {
  asio::io_context io;
  Socket near(io), far(io);
  asio::local::connect_pair(near, far);
  asio::write(far, asio::buffer("abc", 3));
  far.shutdown(Socket::shutdown_send);
  const auto result = RunOne(io, ReadTwiceFails(near));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code(), ErrorCode::kCanceled);
}

TEST(AsyncTest, DeadlineCancelsTheReadAndLeavesTheSocketUsable) {
  asio::io_context io;
  Socket near(io), far(io);
  asio::local::connect_pair(near, far);
  const auto late =
      RunOne(io, WithDeadline(ReadSome(near), steady_clock::now() + milliseconds(5), "a byte"));
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(late.error().message(), "a byte");
  asio::write(far, asio::buffer("abc", 3));
  const auto now = RunOne(
      io, WithDeadline(ReadSome(near), steady_clock::now() + std::chrono::hours(1), "a byte"));
  EXPECT_EQ(now.value(), 3U);
}

Awaitable<void> SleepAgainAndAgain(Notifier* notifier, int* ended) {
  for (int i = 0; i < 3; ++i) (void)co_await SleepFor(std::chrono::hours(1));
  co_await notifier->Wait();
  ++*ended;
}

Awaitable<bool> CancelOnceAndJoin(TaskScope& scope) {
  const auto pause = co_await SleepFor(milliseconds(1));
  scope.Cancel();
  co_await scope.Join();
  co_return pause.has_value();
}

TEST(AsyncTest, WaitsThatBeginAfterCancelEndAtOnce) {
  asio::io_context io;
  Notifier notifier(io.get_executor());
  TaskScope scope(io.get_executor());
  int ended = 0;
  scope.Spawn(SleepAgainAndAgain(&notifier, &ended));
  EXPECT_TRUE(RunOne(io, CancelOnceAndJoin(scope)));
  EXPECT_EQ(ended, 1);
}

struct Log {
  std::vector<std::string> lines;
};

Awaitable<void> ReadUntilCancelled(Socket& socket, Log* log, std::string name) {
  const auto result = co_await ReadSome(socket);
  const bool cancelled = co_await Cancelled();
  log->lines.push_back(name + (result ? " read" : " stopped") + (cancelled ? " cancelled" : ""));
}

Awaitable<bool> CancelAndJoin(TaskScope& scope) {
  const auto pause = co_await SleepFor(milliseconds(1));
  EXPECT_TRUE(pause.has_value());
  scope.Cancel();
  co_await scope.Join();
  co_return true;
}

TEST(AsyncTest, ScopeCancelsAndJoins) {
  asio::io_context io;
  Socket a(io), b(io), c(io), d(io);
  asio::local::connect_pair(a, b);
  asio::local::connect_pair(c, d);
  Log log;
  TaskScope scope(io.get_executor());
  scope.Spawn(ReadUntilCancelled(a, &log, "a"));
  scope.Spawn(ReadUntilCancelled(c, &log, "c"));
  EXPECT_EQ(scope.size(), 2U);
  RunOne(io, CancelAndJoin(scope));
  EXPECT_EQ(scope.size(), 0U);
  EXPECT_EQ(log.lines, (std::vector<std::string>{"a stopped cancelled", "c stopped cancelled"}));
}

Awaitable<void> AwaitFlag(Notifier& notifier, bool* flag, int* woken) {
  while (!*flag) {
    co_await notifier.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return;
  }
  ++*woken;
}

Awaitable<bool> RaiseFlag(TaskScope& scope, Notifier& notifier, bool* flag) {
  auto pause = co_await SleepFor(milliseconds(1));
  notifier.NotifyAll();  // a spurious one: the flag is still down
  pause = co_await SleepFor(milliseconds(1));
  *flag = true;
  notifier.NotifyAll();
  co_await scope.Join();
  co_return pause.has_value();
}

TEST(AsyncTest, NotifierWakesAllWaiters) {
  asio::io_context io;
  Notifier notifier(io.get_executor());
  TaskScope scope(io.get_executor());
  bool flag = false;
  int woken = 0;
  for (int i = 0; i < 3; ++i) scope.Spawn(AwaitFlag(notifier, &flag, &woken));
  RunOne(io, RaiseFlag(scope, notifier, &flag));
  EXPECT_EQ(woken, 3);
}

Awaitable<bool> WaitShort(Notifier& notifier) {
  const bool notified = co_await notifier.WaitUntil(steady_clock::now() + milliseconds(2));
  co_return notified;
}

TEST(AsyncTest, NotifierWaitUntilTellsTimeout) {
  asio::io_context io;
  Notifier notifier(io.get_executor());
  EXPECT_FALSE(RunOne(io, WaitShort(notifier)));
}

Awaitable<Result<int>> Compute(BlockingPool& pool) {
  const auto home = std::this_thread::get_id();
  auto work = [home]() -> Result<int> {
    if (std::this_thread::get_id() == home)
      return Err(ErrorCode::kInternal, "ran on the loop's thread");
    return 42;
  };
  const auto value = co_await pool.Run(work);
  if (std::this_thread::get_id() != home) co_return Err(ErrorCode::kInternal, "resumed elsewhere");
  co_return value;
}

TEST(AsyncTest, BlockingPoolRunsElsewhereAndResumesHere) {
  asio::io_context io;
  BlockingPool pool(2);
  EXPECT_EQ(RunOne(io, Compute(pool)).value(), 42);
}

}  // namespace
}  // namespace cleanroom
