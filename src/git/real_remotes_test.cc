// Mirrors of what people really serve repositories with, and what is said when it is not set up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "base/testing/result_matchers.h"
#include "git/mirror_store.h"
#include "tests/support/git_peers.h"

namespace cleanroom::git {
namespace {

using ::testing::AllOf;
using testing::GitDaemon;
using ::testing::HasSubstr;
using testing::SshGit;

class RealRemotesTest : public ::testing::Test {
 protected:
  RealRemotesTest() {
    unsetenv("GIT_SSL_CAINFO");  // would count for more than the config of a user
    testing::RunOrDie("cd " + folder_.path() +
                      "; export GIT_CONFIG_GLOBAL=/dev/null; git init -q -b main w; cd w; "
                      "head -c 300000 /dev/urandom >big; git add .; git -c user.name=a -c "
                      "user.email=a@b commit -qm one; cd ..; git clone -q --bare w r.git");
  }
  // As cleanroomd of a user with this ~/.gitconfig.
  Result<Resolved> Ensure(const std::string& url, const std::string& gitconfig = "",
                          GitConfig config = {}) {
    std::ofstream(folder_ / ".gitconfig") << gitconfig;
    config.environment = {"HOME=" + folder_.path()};
    CR_TRY_ASSIGN(const MirrorStore store,
                  MirrorStore::Open({.state_folder = folder_ / "state", .git = config}));
    CR_TRY_ASSIGN(const RemoteUrl parsed, store.ParseUrl(url));
    return store.EnsureCommit(parsed, {}, {});
  }
  std::string Said(const Result<Resolved>& result) {
    return result ? "nothing" : result.error().ToString() + "\n" + result.error().remedy();
  }

  testing::TestFolder folder_;
};

TEST_F(RealRemotesTest, Ssh) {
  const SshGit ssh;
  const std::string url = ssh.Url(folder_ / "r.git");
  const auto with = [&](const std::string& key, const std::string& known) {
    return Ensure(url, "", {.ssh_command = ssh.Command(key, known)});
  };
  const auto unknown = with("key", "none");
  EXPECT_THAT(unknown, HasError(ErrorCode::kFailedPrecondition)) << Said(unknown);
  EXPECT_THAT(Said(unknown), AllOf(HasSubstr("known_hosts"),
                                   HasSubstr("ssh-keyscan -p " + ssh.port() + " 127.0.0.1")));
  const auto refused = with("other", "known");
  EXPECT_THAT(refused, HasError(ErrorCode::kUnauthenticated)) << Said(refused);
  EXPECT_THAT(Said(refused), HasSubstr("an ssh key that 127.0.0.1 knows"));
  const auto fine = with("key", "known");
  EXPECT_THAT(fine, IsOk()) << Said(fine);
  const auto none =
      Ensure(ssh.Url(folder_ / "none.git"), "", {.ssh_command = ssh.Command("key", "known")});
  EXPECT_THAT(none, HasError(ErrorCode::kNotFound)) << Said(none);
}

TEST_F(RealRemotesTest, GitsOwnProtocolIsRefused) {
  const GitDaemon daemon(folder_.path());
  const auto cloned =
      testing::RunScript("git clone -q " + daemon.Url("r.git") + " " + (folder_ / "clone"));
  ASSERT_EQ(cloned.status, 0) << cloned.output;  // it is there
  const auto refused = Ensure(daemon.Url("r.git"));
  EXPECT_THAT(refused, HasError(ErrorCode::kInvalidArgument));
  EXPECT_THAT(Said(refused), AllOf(HasSubstr("git://"), HasSubstr("https")));
  // Also where the user's own config leads to it.
  const auto led = Ensure("https://git.example/r.git",
                          "[url \"" + daemon.Url("") + "\"]\n insteadOf = https://git.example/\n");
  EXPECT_THAT(led, HasError(ErrorCode::kUpstreamError)) << Said(led);
  EXPECT_THAT(Said(led), HasSubstr("git.example leads elsewhere"));
}

}  // namespace
}  // namespace cleanroom::git
