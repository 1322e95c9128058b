#include "git/relative_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/result_matchers.h"

namespace cleanroom::git {
namespace {

RemoteUrl Url(std::string_view text) {
  return *RemoteUrl::Parse(text, {.http = PlainHttp::kAllowed, .paths = LocalPaths::kAllowed});
}

TEST(RelativeUrlTest, IsResolvedAsGitDoes) {
  const char* cases[][3] = {
      {"https://h/o/r.git", "../s.git", "https://h/o/s.git"},
      {"https://h/o/r.git", "../../p/s", "https://h/p/s"},
      {"https://h:8443/r", "./s", "https://h:8443/r/s"},
      {"https://h/o/r", "../../s", "https://h/s"},
      {"git@h:o/r.git", "../s.git", "git@h:o/s.git"},
      {"git@h:o/r.git", "../../s.git", "git@h:s.git"},
      {"git@h:/o/r.git", "../../s.git", "git@h:/s.git"},
      {"ssh://git@h:2222/o/r", "../s", "ssh://git@h:2222/o/s"},
      {"/srv/r.git", "../s.git", "/srv/s.git"},
      {"https://h/o/r", "https://other/s", "https://other/s"},
      {"https://h/o/r", "/srv/s", "/srv/s"},
  };
  for (const auto& [parent, text, expected] : cases)
    EXPECT_THAT(ResolveRelativeUrl(Url(parent), text), IsOkAnd(std::string(expected))) << text;
}

TEST(RelativeUrlTest, DoesNotLeaveTheHost) {
  for (const char* parent : {"https://h/r", "git@h:r", "ssh://h/r"})
    EXPECT_THAT(ResolveRelativeUrl(Url(parent), "../../other/s"),
                HasError(ErrorCode::kInvalidArgument))
        << parent;
}

TEST(RelativeUrlTest, AHostIsNameAndPortAndScheme) {
  EXPECT_TRUE(IsSameHost(Url("https://H/a"), Url("https://h:443/b")));
  EXPECT_TRUE(IsSameHost(Url("git@h:a"), Url("ssh://other@h/b")));
  for (const char* other : {"https://h:444/a", "https://i/a", "http://h:443/a", "ssh://h/a"})
    EXPECT_FALSE(IsSameHost(Url("https://h/a"), Url(other))) << other;
}

}  // namespace
}  // namespace cleanroom::git
