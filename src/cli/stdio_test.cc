#include "cli/stdio.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <csignal>
#include <optional>
#include <string>

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
