#include "workspace/remote_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/result_matchers.h"

namespace cleanroom::workspace {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string IdentityOf(std::string_view url) {
  const auto parsed = RemoteUrl::Parse(url);
  return parsed ? parsed->Identity() : parsed.error().message();
}

TEST(RemoteUrlTest, SpellingsOfOneRepositoryAreTheSame) {
  for (const char* url :
       {"https://host.example/team/app.git", "https://HOST.example:443/team/app",
        "https://me:secret@host.example/team/app/", "ssh://git@host.example/team/app.git",
        "git@host.example:team/app.git", "git+ssh://git@host.example:22/team/app"}) {
    EXPECT_EQ(IdentityOf(url), "host.example/team/app") << url;
  }
  EXPECT_EQ(IdentityOf("https://host.example:8443/a"), "host.example:8443/a");
  EXPECT_EQ(IdentityOf("ssh://git@[::1]:2222/a"), "[::1]:2222/a");
  EXPECT_EQ(IdentityOf("/srv/git/a.git"), "/srv/git/a");
}

TEST(RemoteUrlTest, CredentialsNeverTravel) {
  const auto url = RemoteUrl::Parse("https://me:secret@host.example/a.git");
  ASSERT_THAT(url, IsOk());
  EXPECT_EQ(url->ToString(), "https://host.example/a.git");
  EXPECT_TRUE(url->had_credentials);
  EXPECT_EQ(RemoteUrl::Parse("git@host.example:a/b")->ToString(), "git@host.example:a/b");
  EXPECT_EQ(RemoteUrl::Parse("ssh://git:x@host.example/a")->ToString(), "ssh://git@host.example/a");
  EXPECT_THAT(RemoteUrl::Parse("https://me:secret@host.example:x/"),
              HasError(ErrorCode::kInvalidArgument, Not(HasSubstr("secret"))));
}

TEST(RemoteUrlTest, RefusesWhatRunsPrograms) {
  for (const char* url :
       {"ext::sh -c true", "ext::sh", "-upload-pack=x", "", "https://", "https:///a",
        "ssh://-oProxyCommand=x/a", "https://host.example", "a b@c:d"}) {
    EXPECT_THAT(RemoteUrl::Parse(url), HasError(ErrorCode::kInvalidArgument)) << url;
  }
}

TEST(RemoteUrlTest, TellsNamesFromUrls) {
  for (const char* name : {"origin", "up-stream", "team/fork"}) EXPECT_FALSE(IsRemoteUrl(name));
  for (const char* url : {"https://h/a", "git@h:a", "/srv/a", "../a", "file:///a"})
    EXPECT_TRUE(IsRemoteUrl(url)) << url;
}

}  // namespace
}  // namespace cleanroom::workspace
