#include "server/api/authenticator.h"

#include <gtest/gtest.h>

#include <string>

namespace cleanroom::server {
namespace {

rpc::CallContext With(const std::string& name, const std::string& value) {
  rpc::CallContext call;
  call.headers = {{"accept", "*/*"}, {name, value}};
  return call;
}

TEST(AuthenticatorTest, TakesItsTokensAlone) {
  const Authenticator authenticator({"first", "second"});
  EXPECT_TRUE(authenticator.Check(With("authorization", "Bearer second")));
  for (const char* value : {"Bearer third", "Bearer ", "Bearer firs", "bearer first", "first"}) {
    EXPECT_EQ(authenticator.Check(With("authorization", value)).error().code(),
              ErrorCode::kUnauthenticated)
        << value;
  }
  EXPECT_FALSE(authenticator.Check(With("host", "localhost")));
}

rpc::CallContext Named(const std::string& host) {
  rpc::CallContext call;
  call.host = host;
  return call;
}

TEST(CheckLocalHostTest, AnswersToThisHostsNamesAlone) {
  for (const char* host : {"localhost", "localhost:8080", "127.0.0.1", "127.1.2.3:80", "[::1]:9"}) {
    EXPECT_TRUE(CheckLocalHost(Named(host))) << host;
  }
  for (const char* host : {"evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example",
                           "192.0.2.1", "[2001:db8::1]:80", "[", "[]", ":80"}) {
    const auto checked = CheckLocalHost(Named(host));
    ASSERT_FALSE(checked) << host;
    EXPECT_EQ(checked.error().code(), ErrorCode::kPermissionDenied);
  }
  EXPECT_TRUE(CheckLocalHost(Named("")));  // HTTP/2
}

}  // namespace
}  // namespace cleanroom::server
