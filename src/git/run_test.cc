#include "git/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/testing/result_matchers.h"
#include "git/environment.h"
#include "tests/support/command.h"

namespace cleanroom::git {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const char* Nothing(const char*) { return nullptr; }

TEST(GitEnvironment, ALocalRunSeesNothingOfItsUser) {
  const Command command{.args = {"status"}, .git_dir = "/m.git"};
  const auto environment = LocalEnvironment(command);
  EXPECT_THAT(environment, Contains("GIT_CONFIG_GLOBAL=/dev/null"));
  EXPECT_THAT(environment, Contains("GIT_CONFIG_NOSYSTEM=1"));
  EXPECT_THAT(environment, Contains("GIT_ALLOW_PROTOCOL="));
  EXPECT_THAT(environment, Not(Contains(StartsWith("SSH_"))));
  const auto argv = LocalArguments({}, command);
  EXPECT_THAT(argv, Contains("core.hooksPath=/dev/null"));
  EXPECT_THAT(argv, Contains("--git-dir=/m.git"));
  EXPECT_EQ(argv.back(), "status");
}

TEST(GitEnvironment, AnUpstreamRunNeverAsks) {
  const auto environment = UpstreamEnvironment({}, {}, [](const char* name) {
    return std::string_view(name) == "HOME" ? "/home/me" : nullptr;
  });
  EXPECT_THAT(environment, Contains("HOME=/home/me"));
  EXPECT_THAT(environment, Contains("GIT_TERMINAL_PROMPT=0"));
  EXPECT_THAT(environment, Contains("GIT_ALLOW_PROTOCOL=https:ssh"));
  EXPECT_THAT(environment, Contains(HasSubstr("-oBatchMode=yes")));
  EXPECT_THAT(UpstreamEnvironment({.rules = {.http = PlainHttp::kAllowed}}, {}, Nothing),
              Contains("GIT_ALLOW_PROTOCOL=https:ssh:http"));
}

class GitRunTest : public ::testing::Test {
 protected:
  testing::TestFolder folder_;
  Git git_{GitConfig{}};
};

TEST_F(GitRunTest, AnswersWhatGitSays) {
  const auto made = git_.Local({.args = {"init", "-q", "--bare", folder_ / "r.git"}}, {});
  ASSERT_THAT(made, IsOk());
  const auto written = git_.Local(
      {.args = {"hash-object", "-w", "--stdin"}, .git_dir = folder_ / "r.git", .input = "hello\n"},
      {});
  EXPECT_THAT(written, IsOkAnd(std::string("ce013625030ba8dba906f756967f9e9ca394464a\n")));
  const auto failed = git_.Local(
      {.args = {"cat-file", "-p", "--end-of-options", "--help"}, .git_dir = folder_ / "r.git"}, {});
  ASSERT_THAT(failed, HasError(ErrorCode::kDataCorrupt));
  EXPECT_THAT(failed.error().message(), HasSubstr("Not a valid object name"));
}

TEST_F(GitRunTest, ALocalRunHasNoNetwork) {
  if (!Git::IsConfined()) GTEST_SKIP() << "this host forbids user namespaces";
  const auto interfaces =
      git_.Local({.args = {"-c", "alias.x=!cat /proc/net/dev | wc -l; echo $HOME", "x"}}, {});
  if (!interfaces) GTEST_SKIP() << interfaces.error().ToString();
  EXPECT_THAT(*interfaces, HasSubstr("/nonexistent"));
  const auto fetched = git_.Local({.args = {"ls-remote", "https://127.0.0.1/x"}}, {});
  ASSERT_THAT(fetched, HasError(ErrorCode::kDataCorrupt));
  EXPECT_THAT(fetched.error().message(), HasSubstr("not allowed"));
}

TEST_F(GitRunTest, EndsWithItsDeadlineAndWithItsToken) {
  const Command sleeps{.args = {"-c", "alias.x=!sleep 100; sleep 100", "x"},
                       .timeout = std::chrono::seconds(1)};
  EXPECT_THAT(git_.Local(sleeps, {}), HasError(ErrorCode::kDeadlineExceeded));
  std::stop_source stop;
  const std::jthread stopper([&] { stop.request_stop(); });
  EXPECT_THAT(git_.Local({.args = {"-c", "alias.x=!sleep 100", "x"}}, {.stop = stop.get_token()}),
              HasError(ErrorCode::kCanceled));
}

TEST_F(GitRunTest, OutputHasALimit) {
  EXPECT_THAT(git_.Local({.args = {"-c", "alias.x=!yes", "x"}, .max_output = 1000}, {}),
              HasError(ErrorCode::kResourceExhausted));
}

TEST_F(GitRunTest, ComplaintsAreBoundedAndPrintable) {
  const auto failed =
      git_.Local({.args = {"-c",
                           "alias.x=!printf '\\033[31mred\\n' >&2; "
                           "head -c 90000 /dev/zero | tr '\\0' x >&2; printf '\\033' >&2; exit 3",
                           "x"},
                  .timeout = std::chrono::seconds(5)},
                 {});
  ASSERT_FALSE(failed);
  EXPECT_LT(failed.error().message().size(), 10000u);
  EXPECT_THAT(failed.error().message(), Not(HasSubstr("\033")));
}

TEST_F(GitRunTest, AStreamSaysWhenGitFailed) {
  const auto stream = git_.LocalStream({.args = {"-c", "alias.x=!echo part; exit 7", "x"}}, {});
  ASSERT_THAT(stream, IsOk());
  std::vector<uint8_t> buffer(100);
  EXPECT_THAT((*stream)->Read(buffer), IsOkAnd(size_t{5}));
  EXPECT_THAT((*stream)->Read(buffer), HasError(ErrorCode::kDataCorrupt));
}

TEST_F(GitRunTest, AMissingGitIsSaidWithItsRemedy) {
  const auto failed = Git({.program = "git-that-is-not-there"}).Local({.args = {"version"}}, {});
  ASSERT_THAT(failed, HasError(ErrorCode::kFailedPrecondition));
  EXPECT_THAT(failed.error().remedy(), HasSubstr("git"));
}

}  // namespace
}  // namespace cleanroom::git
