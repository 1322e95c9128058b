#include "http/byte_stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <string>

namespace cleanroom::http {
namespace {

struct Ends {
  Ends() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds.data()), 0); }
  ~Ends() { close(fds[1]); }
  std::array<int, 2> fds{};
};

Awaitable<void> ReadOnce(ByteStream& stream, size_t most, std::string& out) {
  std::string buffer(most, '\0');
  auto n = co_await stream.Read(std::as_writable_bytes(std::span(buffer)));
  if (n) out = buffer.substr(0, *n);
}

// A packet socket gives one packet for each read(2), as a serial port gives one page.
TEST(ByteStreamTest, OneReadTakesEverythingThatIsReady) {
  asio::io_context io;
  Ends ends;
  const auto stream = AdoptDescriptor(io.get_executor(), ends.fds[0]);
  std::string sent;
  for (const char c : {'a', 'b', 'c'}) {
    const std::string packet(100, c);
    ASSERT_EQ(write(ends.fds[1], packet.data(), packet.size()), 100);
    sent += packet;
  }
  TaskScope tasks(io.get_executor());
  std::string got;
  tasks.Spawn(ReadOnce(*stream, 1000, got));
  io.run();
  EXPECT_EQ(got, sent);
}

TEST(ByteStreamTest, AReadEndsWhereItsBufferDoes) {
  asio::io_context io;
  Ends ends;
  const auto stream = AdoptDescriptor(io.get_executor(), ends.fds[0]);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(write(ends.fds[1], "0123456789", 10), 10);
  TaskScope tasks(io.get_executor());
  std::string got;
  tasks.Spawn(ReadOnce(*stream, 20, got));
  io.run();
  EXPECT_EQ(got.size(), 20U);
}

Awaitable<void> WriteAll(ByteStream& stream, const std::string& data, bool& done) {
  auto written = co_await stream.Write(std::as_bytes(std::span(data)));
  done = written.has_value();
}

// More than the pipe holds: the first part is written at once, the rest as it is read.
TEST(ByteStreamTest, AWriteWaitsForASlowReader) {
  asio::io_context io;
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const auto stream = AdoptDescriptor(io.get_executor(), ends[1]);
  std::string data(1 << 20, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 >> 3);
  TaskScope tasks(io.get_executor());
  bool done = false;
  tasks.Spawn(WriteAll(*stream, data, done));
  std::string got;
  std::string buffer(10'000, '\0');
  while (got.size() < data.size()) {
    io.poll();
    EXPECT_EQ(done, false);
    const ssize_t n = read(ends[0], buffer.data(), buffer.size());
    ASSERT_GT(n, 0);
    got.append(buffer, 0, static_cast<size_t>(n));
    if (data.size() - got.size() <= 65536) break;
  }
  io.run();
  EXPECT_TRUE(done);
  while (got.size() < data.size()) {
    const ssize_t n = read(ends[0], buffer.data(), buffer.size());
    ASSERT_GT(n, 0);
    got.append(buffer, 0, static_cast<size_t>(n));
  }
  EXPECT_TRUE(got == data);
  close(ends[0]);
}

}  // namespace
}  // namespace cleanroom::http
