// Pages that are served beside the procedures, over HTTP/1.1 as a scraper asks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <string>

#include "http/byte_stream.h"
#include "rpc/server.h"

namespace cleanroom::rpc {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string Ask(const Router& router, const std::string& request) {
  asio::io_context io(1);
  const Server server(router, {}, nullptr);
  std::array<int, 2> fds{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  TaskScope scope(io.get_executor());
  scope.Spawn(server.Serve(http::AdoptSocket(io.get_executor(), fds[1])));
  EXPECT_EQ(write(fds[0], request.data(), request.size()), static_cast<ssize_t>(request.size()));
  io.run();
  std::string answer(1U << 16, '\0');
  const ssize_t size = read(fds[0], answer.data(), answer.size());
  close(fds[0]);
  answer.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
  return answer;
}

Router WithPage() {
  Router router;
  router.AddPage("/metrics",
                 {"text/plain; version=0.0.4", [](const CallContext& call) {
                    std::string who;
                    for (const auto& [name, value] : call.headers)
                      if (name == "authorization") who = value;
                    if (who == "Bearer no")
                      return Result<std::string>(Err(ErrorCode::kUnauthenticated, "who are you?"));
                    return Result<std::string>("up 1\n");
                  }});
  return router;
}

TEST(PageTest, IsServedToGet) {
  const std::string answer =
      Ask(WithPage(), "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("content-type: text/plain; version=0.0.4\r\n"));
  EXPECT_THAT(answer, testing::EndsWith("\r\n\r\nup 1\n"));
}

TEST(PageTest, RefusesStrangersAndOtherMethods) {
  EXPECT_THAT(Ask(WithPage(),
                  "GET /metrics HTTP/1.1\r\nhost: x\r\nauthorization: Bearer no\r\n"
                  "connection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 401"));
  EXPECT_THAT(Ask(WithPage(),
                  "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n"
                  "connection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(Ask(Router(), "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 404"));
}

}  // namespace
}  // namespace cleanroom::rpc
