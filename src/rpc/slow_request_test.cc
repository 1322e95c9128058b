// Who sends a request by drops does not hold its connection for ever.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>

#include "cleanroom/v1/error.pb.h"
#include "http/byte_stream.h"
#include "os/unique_fd.h"
#include "rpc/server.h"

namespace cleanroom::rpc {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Awaitable<Result<v1::ErrorDetail>> Echo(v1::ErrorDetail request) { co_return request; }

Awaitable<Result<void>> Talk(Reader<v1::ErrorDetail>& in) {
  auto next = co_await in.Next();
  if (!next) co_return Err(std::move(next).error());
  co_return Result<void>();
}

Router MakeRouter() {
  Router router;
  router.Unary<v1::ErrorDetail, v1::ErrorDetail>(
      "/t/Echo", [](CallContext&, v1::ErrorDetail request) { return Echo(std::move(request)); });
  router.Bidi<v1::ErrorDetail, v1::ErrorDetail>(
      "/t/Talk",
      [](CallContext&, Reader<v1::ErrorDetail>& in, Writer<v1::ErrorDetail>&) { return Talk(in); });
  return router;
}

// A server on one end of a pair of sockets; the test holds the other.
class SlowRequestTest : public testing::Test {
 protected:
  SlowRequestTest() {
    std::array<int, 2> fds{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) std::abort();
    peer_.reset(fds[0]);
    scope_.Spawn(server_.Serve(http::AdoptSocket(io_.get_executor(), fds[1])));
  }
  static ServerOptions Options() {
    ServerOptions options;
    options.message_timeout = std::chrono::seconds(1);
    return options;
  }
  void Send(const std::string& bytes) {
    ASSERT_EQ(write(peer_.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  std::string Answer() {
    std::string answer(1U << 16, '\0');
    const ssize_t size = read(peer_.get(), answer.data(), answer.size());
    answer.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
    return answer;
  }

  asio::io_context io_;
  Router router_ = MakeRouter();
  Server server_{router_, Options(), nullptr};
  os::UniqueFd peer_;
  TaskScope scope_{io_.get_executor()};
};

TEST_F(SlowRequestTest, AMessageThatDoesNotComeIsNotWaitedFor) {
  Send(
      "POST /t/Echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\n"
      "content-length: 100\r\n\r\nab");
  io_.run();  // to the connection's end
  const std::string answer = Answer();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 504"));
  EXPECT_THAT(answer, HasSubstr("deadline_exceeded"));
}

TEST_F(SlowRequestTest, AStreamMayTakeItsTime) {
  Send(
      "POST /t/Talk HTTP/1.1\r\nhost: x\r\ncontent-type: application/connect+proto\r\n"
      "content-length: 5\r\nconnection: close\r\n\r\n");
  io_.run_for(Options().message_timeout * 3 / 2);
  EXPECT_EQ(scope_.size(), 1U);
  Send(std::string(5, '\0'));
  io_.restart();
  io_.run();
  EXPECT_THAT(Answer(), StartsWith("HTTP/1.1 200"));
}

}  // namespace
}  // namespace cleanroom::rpc
