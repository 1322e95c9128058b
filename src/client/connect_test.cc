#include "client/connect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cleanroom::client {
namespace {

using testing::HasSubstr;

TEST(ParseEndpointTest, TakesApartEachKind) {
  const auto socket = ParseEndpoint("unix:///run/user/1000/cleanroom/cleanroom.sock");
  ASSERT_TRUE(socket.has_value());
  EXPECT_EQ(socket->kind, Endpoint::Kind::kUnix);
  EXPECT_EQ(socket->path, "/run/user/1000/cleanroom/cleanroom.sock");

  const auto plain = ParseEndpoint("http://build-7.example:7777/");
  ASSERT_TRUE(plain.has_value());
  EXPECT_EQ(plain->kind, Endpoint::Kind::kHttp);
  EXPECT_EQ(plain->host, "build-7.example");
  EXPECT_EQ(plain->port, 7777);

  const auto tls = ParseEndpoint("https://[::1]");
  ASSERT_TRUE(tls.has_value());
  EXPECT_EQ(tls->kind, Endpoint::Kind::kHttps);
  EXPECT_EQ(tls->host, "::1");
  EXPECT_EQ(tls->port, 443);
}

TEST(ParseEndpointTest, RefusesEverythingElse) {
  for (const char* url : {"", "/run/x.sock", "unix://relative.sock", "ftp://host", "http://", "http://host:0",
                          "http://host:65536", "http://host:7x", "http://host:", "http://user@host",
                          "http://host/path", "http://[::1", "http://[::1]7"}) {
    const auto result = ParseEndpoint(url);
    ASSERT_FALSE(result.has_value()) << url;
    EXPECT_EQ(result.error().code(), ErrorCode::kInvalidArgument) << url;
    EXPECT_THAT(result.error().message(), HasSubstr("unix:///PATH")) << url;
  }
}

}  // namespace
}  // namespace cleanroom::client
