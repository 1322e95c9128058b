#include "git/remote_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/result_matchers.h"

namespace cleanroom::git {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Identity(std::string_view text) {
  const Result<RemoteUrl> url = RemoteUrl::Parse(text, {.http = PlainHttp::kAllowed});
  return url ? url->identity() : url.error().ToString();
}

TEST(RemoteUrl, OneSpellingForOneRepository) {
  for (const char* text : {"https://Example.COM/a/b", "https://example.com:443/a/b.git",
                           "https://token@example.com/a/b.git/", "HTTPS://example.com./a//b/"})
    EXPECT_EQ(Identity(text), "https://example.com/a/b") << text;
  for (const char* text : {"git@example.com:a/b.git", "ssh://git@example.com/a/b",
                           "ssh://git@EXAMPLE.com:22/a/b.git", "git@example.com:/a/b/"})
    EXPECT_EQ(Identity(text), "ssh://git@example.com/a/b") << text;
  EXPECT_EQ(Identity("http://example.com:8080/x.git"), "http://example.com:8080/x");
  EXPECT_EQ(Identity("ssh://example.com:2222/x"), "ssh://example.com:2222/x");
  EXPECT_EQ(Identity("https://[2001:DB8::1]:8443/x"), "https://[2001:db8::1]:8443/x");
  EXPECT_EQ(Identity("git@[::1]:x/y"), "ssh://git@[::1]/x/y");
  EXPECT_NE(Identity("me@example.com:a/b"), Identity("me@example.com:/a/b"));
  EXPECT_NE(Identity("https://example.com/A/b"), Identity("https://example.com/a/b"));
}

TEST(RemoteUrl, KeepsWhatToFetchFrom) {
  const auto https = RemoteUrl::Parse("https://me@example.com/a/b.git");
  ASSERT_THAT(https, IsOk());
  EXPECT_EQ(https->fetch_url(), "https://example.com/a/b.git");
  EXPECT_EQ(https->origin(), "https://example.com/a/b.git");
  EXPECT_EQ(https->host(), "example.com");
  EXPECT_EQ(https->port(), 443);
  const auto scp = RemoteUrl::Parse("git@example.com:a/b.git");
  ASSERT_THAT(scp, IsOk());
  EXPECT_EQ(scp->fetch_url(), "git@example.com:a/b.git");
  EXPECT_EQ(scp->port(), 22);
}

TEST(RemoteUrl, RefusesWhatCouldRunOrReachSomethingElse) {
  for (const char* text : {"",
                           "file:///etc",
                           "/etc/repo",
                           "../repo",
                           "./repo",
                           "~/repo",
                           "repo",
                           "repo/x:y",
                           "git://example.com/x",
                           "ext::sh -c id",
                           "ext::sh%20-c",
                           "fd::7",
                           "http::https://example.com/x",
                           "ftp://example.com/x",
                           "svn+ssh://example.com/x",
                           "-oProxyCommand=x:y",
                           "--upload-pack=x",
                           "ssh://-oProxyCommand=x/y",
                           "ssh://-o@example.com/y",
                           "git@-oProxyCommand:y",
                           "git@example.com:-y",
                           "ssh://example.com/-y",
                           "https://example.com",
                           "https://example.com/",
                           "https://example.com/.git",
                           "https:///x",
                           "https://example.com/../x",
                           "https://example.com/a/%2e%2E/x",
                           "https://example.com/a/./x",
                           "https://example.com/x?y",
                           "https://example.com/x#y",
                           "https://example.com/x\ny",
                           "https://example.com/x y",
                           "https://example.com:0/x",
                           "https://example.com:99999/x",
                           "https://example.com:1x/y",
                           "https://[::1/x",
                           "https://[::1]y/x",
                           "https://[zz]/x",
                           "https://exa..mple/x",
                           "https://example.com/a\\b",
                           "https://example.com/\xff",
                           "https://example.com/\xe2\x80\xae"})
    EXPECT_THAT(RemoteUrl::Parse(text), HasError(ErrorCode::kInvalidArgument)) << text;
  EXPECT_THAT(RemoteUrl::Parse("https://example.com/" + std::string(3000, 'x')),
              HasError(ErrorCode::kInvalidArgument));
}

TEST(RemoteUrl, HttpOnlyWhereAllowed) {
  const auto refused = RemoteUrl::Parse("http://example.com/x");
  ASSERT_THAT(refused, HasError(ErrorCode::kInvalidArgument));
  EXPECT_THAT(refused.error().remedy(), HasSubstr("https"));
  EXPECT_THAT(RemoteUrl::Parse("http://example.com/x", {.http = PlainHttp::kAllowed}), IsOk());
}

TEST(RemoteUrl, APasswordIsRefusedAndNeverShown) {
  for (const char* text : {"https://me:hunter2@example.com/x", "ssh://me:hunter2@example.com/x",
                           "https://me:hunter2@@example.com/x", "https://:hunter2@-/x"}) {
    const auto url = RemoteUrl::Parse(text);
    ASSERT_THAT(url, HasError(ErrorCode::kInvalidArgument)) << text;
    EXPECT_THAT(url.error().ToString() + url.error().remedy(), Not(HasSubstr("hunter2")));
  }
  const auto token = RemoteUrl::Parse("https://secret-token@example.com/x");
  ASSERT_THAT(token, IsOk());
  for (const std::string& text : {token->identity(), token->fetch_url(), token->origin()})
    EXPECT_THAT(text, Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace cleanroom::git
