#include "cli/terminal/stdio.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <csignal>
#include <optional>
#include <string>

#include "base/testing/result_matchers.h"

namespace cleanroom::cli {
namespace {

struct Pipe {
  Pipe() {
    std::array<int, 2> fds{};
    EXPECT_EQ(pipe2(fds.data(), O_CLOEXEC), 0);
    read_end = os::UniqueFd(fds[0]);
    write_end = os::UniqueFd(fds[1]);
  }
  os::UniqueFd read_end;
  os::UniqueFd write_end;
};

Awaitable<void> WriteAll(Output& output, const std::string& data,
                         std::optional<Result<void>>& out) {
  auto written = co_await output.Write(data);
  out = std::move(written);
}

TEST(OutputTest, AFullPipeDoesNotBlockTheLoop) {
  asio::io_context io;
  Pipe pipe;
  Output output(io.get_executor(), pipe.write_end.get());
  // Not on the description that we share with others.
  EXPECT_EQ(fcntl(pipe.write_end.get(), F_GETFL) & O_NONBLOCK, 0);
  const std::string data(300'000, 'x');
  TaskScope tasks(io.get_executor());
  std::optional<Result<void>> outcome;
  tasks.Spawn(WriteAll(output, data, outcome));
  size_t got = 0;
  std::string buffer(7000, '\0');
  while (got < data.size()) {
    io.poll();  // would hang here
    const ssize_t n = read(pipe.read_end.get(), buffer.data(), buffer.size());
    ASSERT_GT(n, 0);
    got += static_cast<size_t>(n);
  }
  io.run();
  ASSERT_TRUE(outcome.has_value());
  EXPECT_TRUE(outcome->has_value());
  EXPECT_EQ(got, data.size());
}

Awaitable<void> ReadOnce(Input& input, std::string& out) {
  std::array<char, 100> buffer;
  const auto got = co_await input.Read(buffer);
  EXPECT_THAT(got, IsOk());
  if (got) out.assign(buffer.data(), *got);
}

Awaitable<void> TakeWhenReadable(asio::posix::stream_descriptor& signal, int fd) {
  (void)co_await signal.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
  char taken;
  EXPECT_EQ(read(fd, &taken, 1), 1);
}

// The event loop has seen a byte, and another reader of the stream takes it before we are told.
TEST(InputTest, WhatAnotherReaderTookDoesNotBlockTheLoop) {
  alarm(30);  // what should not block is the whole process
  asio::io_context io;
  Pipe input_pipe;
  Pipe signal_pipe;
  Input input(io.get_executor(), input_pipe.read_end.get());
  asio::posix::stream_descriptor signal(io, signal_pipe.read_end.get());
  std::string got;
  TaskScope tasks(io.get_executor());
  tasks.Spawn(ReadOnce(input, got));
  tasks.Spawn(TakeWhenReadable(signal, input_pipe.read_end.get()));
  io.poll();
  // Both are ready in one look of the loop, which tells of the signal first.
  ASSERT_EQ(write(signal_pipe.write_end.get(), "s", 1), 1);
  ASSERT_EQ(write(input_pipe.write_end.get(), "1", 1), 1);
  io.poll();
  EXPECT_EQ(got, "");
  ASSERT_EQ(write(input_pipe.write_end.get(), "2", 1), 1);
  io.run();
  EXPECT_EQ(got, "2");
  signal.release();
  alarm(0);
}

TEST(OutputTest, AReaderThatIsGoneIsEpipe) {
  std::signal(SIGPIPE, SIG_IGN);
  asio::io_context io;
  Pipe pipe;
  Output output(io.get_executor(), pipe.write_end.get());
  pipe.read_end.reset();
  TaskScope tasks(io.get_executor());
  std::optional<Result<void>> outcome;
  tasks.Spawn(WriteAll(output, "x", outcome));
  io.run();
  ASSERT_TRUE(outcome.has_value());
  ASSERT_FALSE(outcome->has_value());
  EXPECT_EQ(outcome->error().errno_value(), EPIPE);
}

}  // namespace
}  // namespace cleanroom::cli
