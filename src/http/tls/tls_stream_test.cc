#include "http/tls/tls_stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

namespace cleanroom::http {
namespace {

// A folder with a certificate for "sandbox.test" that is its own authority.
class TlsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string name = std::filesystem::temp_directory_path() / "tls_test.XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test "
        "-addext subjectAltName=DNS:sandbox.test -keyout " +
        folder_ + "/key.pem -out " + folder_ + "/cert.pem 2>/dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(folder_); }
  static std::string folder_;
};
std::string TlsTest::folder_;

Awaitable<void> EchoOnce(TlsServer* server, int fd) {
  const auto executor = co_await asio::this_coro::executor;
  auto stream = co_await server->Accept(executor, fd);
  if (!stream) co_return;
  std::array<std::byte, 64> buffer{};
  auto size = co_await (*stream)->Read(buffer);
  if (size) (void)co_await (*stream)->Write(std::span(buffer).first(*size));
}

Awaitable<void> Ask(TlsClient* client, int fd, std::string host, Result<std::string>* answer) {
  const auto executor = co_await asio::this_coro::executor;
  auto stream = co_await client->Connect(executor, fd, host);
  if (!stream) {
    *answer = Err(std::move(stream).error());
    co_return;
  }
  const std::string text = "hello";
  (void)co_await (*stream)->Write(std::as_bytes(std::span(text)));
  std::array<std::byte, 64> buffer{};
  auto size = co_await (*stream)->Read(buffer);
  if (size) *answer = std::string(reinterpret_cast<const char*>(buffer.data()), *size);
}

Result<std::string> AskOver(TlsServer& server, TlsClient& client, const std::string& host) {
  asio::io_context io;
  TaskScope scope(io.get_executor());
  std::array<int, 2> fds{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) std::abort();
  Result<std::string> answer = Err(ErrorCode::kInternal, "no answer");
  scope.Spawn(EchoOnce(&server, fds[0]));
  scope.Spawn(Ask(&client, fds[1], host, &answer));
  io.run();
  return answer;
}

TEST_F(TlsTest, CarriesBytesBetweenPeersThatTrust) {
  auto server = TlsServer::Create(folder_ + "/cert.pem", folder_ + "/key.pem");
  ASSERT_TRUE(server.has_value()) << server.error().ToString();
  auto client = TlsClient::Create(folder_ + "/cert.pem");
  ASSERT_TRUE(client.has_value()) << client.error().ToString();
  const auto answer = AskOver(**server, **client, "sandbox.test");
  ASSERT_TRUE(answer.has_value()) << answer.error().ToString();
  EXPECT_EQ(*answer, "hello");
}

TEST_F(TlsTest, RefusesAnotherNameAndUnknownAuthorities) {
  auto server = TlsServer::Create(folder_ + "/cert.pem", folder_ + "/key.pem");
  ASSERT_TRUE(server.has_value());
  auto client = TlsClient::Create(folder_ + "/cert.pem");
  ASSERT_TRUE(client.has_value());
  EXPECT_EQ(AskOver(**server, **client, "other.test").error().code(), ErrorCode::kUnavailable);
  auto stranger = TlsClient::Create("");
  ASSERT_TRUE(stranger.has_value());
  EXPECT_EQ(AskOver(**server, **stranger, "sandbox.test").error().code(), ErrorCode::kUnavailable);
}

TEST_F(TlsTest, MissingFilesAreNamed) {
  const auto server = TlsServer::Create(folder_ + "/cert.pem", folder_ + "/none.pem");
  ASSERT_FALSE(server.has_value());
  EXPECT_EQ(server.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(server.error().message().find("none.pem"), std::string::npos);
  EXPECT_FALSE(TlsClient::Create(folder_ + "/none.pem").has_value());
}

}  // namespace
}  // namespace cleanroom::http
