#include "cli/commands/checkout_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/testing/result_matchers.h"
#include "os/file.h"
#include "os/process.h"

namespace cleanroom::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Result<std::string> NoDefaultImage() { return std::string(); }

const std::string kImage = "localhost/a@sha256:" + std::string(64, '0');

// In a folder of its own, which is the process's.
class CheckoutSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    before_ = std::filesystem::current_path();
    std::filesystem::current_path(folder_.path());
  }
  void TearDown() override { std::filesystem::current_path(before_); }

  static void Sh(const std::string& script) {
    const auto ran =
        os::Run({"/bin/sh", "-ec",
                 "export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b "
                 "GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; " +
                     script});
    ASSERT_TRUE(ran && ran->status.ok()) << script << (ran ? ran->err : ran.error().ToString());
  }
  static void MakeRepository(const std::string& remote) {
    Sh("git init -q -b main .; echo a >a; git add a; git commit -qm a");
    if (!remote.empty()) Sh("git remote add origin " + remote);
  }
  static void WritePolicy(const std::string& more) {
    ASSERT_TRUE(os::WriteFileAtomic(
        "cleanroom.yaml", "version: 1\nsandbox: { image: { ref: '" + kImage + "' } }\n" + more));
  }
  static Result<CheckoutSource> Locate(RunFlags flags = {}) {
    return LocateCheckout(flags, NoDefaultImage);
  }

  os::TempDir folder_ = std::move(*os::TempDir::Create());
  std::filesystem::path before_;
};

TEST_F(CheckoutSourceTest, OutsideOfAWorkTreeNothingIsCheckedOutAndNothingIsSaid) {
  const auto found = Locate({.image = kImage});
  ASSERT_THAT(found, IsOk());
  EXPECT_FALSE(found->checkout);
  EXPECT_THAT(found->notes, IsEmpty());
}

TEST_F(CheckoutSourceTest, ARepositoryBlockNeedsAWorkTree) {
  WritePolicy("repository: { path: /src }\n");
  EXPECT_THAT(Locate(), HasError(ErrorCode::kFailedPrecondition));
}

TEST_F(CheckoutSourceTest, AWorkTreeIsCheckedOutAtItsCommit) {
  MakeRepository("https://git.example/a.git");
  const auto found = Locate({.image = kImage});
  ASSERT_THAT(found, IsOk());
  ASSERT_TRUE(found->checkout);
  EXPECT_EQ(found->checkout->remote_url(), "https://git.example/a.git");
  EXPECT_EQ(found->checkout->branch(), "main");
  EXPECT_EQ(found->checkout->commit_sha().size(), 40u);
  EXPECT_THAT(found->notes, IsEmpty());
  // Nobody wrote a policy: to have the repository is what was asked for.
  EXPECT_EQ(found->policy.fetched_from.host, "git.example");
  EXPECT_EQ(found->policy.fetched_from.port, 443);
}

TEST_F(CheckoutSourceTest, WhatIsNotCommittedIsToldOrTravels) {
  MakeRepository("https://git.example/a.git");
  Sh("echo b >>a; echo c >c");
  const auto stays = Locate({.image = kImage});
  ASSERT_THAT(stays, IsOk());
  EXPECT_THAT(stays->notes, ElementsAre(HasSubstr("not committed")));
  EXPECT_FALSE(stays->changes);
  const auto travels = Locate({.image = kImage, .sync = true});
  ASSERT_THAT(travels, IsOk());
  EXPECT_THAT(travels->notes, IsEmpty());
  ASSERT_TRUE(travels->changes);
  EXPECT_EQ(travels->changes->files.size(), 2u);
}

TEST_F(CheckoutSourceTest, CommitsThatTheRemoteHasNotTravelWithAFlagAlone) {
  MakeRepository("https://git.example/a.git");
  Sh("git update-ref refs/remotes/origin/main HEAD");
  EXPECT_FALSE(Locate({.image = kImage, .copy_in = true})->bundle) << "the remote has it";
  Sh("echo b >>a; git commit -qam b; echo c >>a");
  EXPECT_FALSE(Locate({.image = kImage})->bundle);
  EXPECT_FALSE(Locate({.image = kImage, .copy_out = true})->bundle);
  const auto travels = Locate({.image = kImage, .sync = true});
  ASSERT_THAT(travels, IsOk());
  ASSERT_TRUE(travels->bundle);
  EXPECT_EQ(travels->bundle->target_commit, travels->checkout->commit_sha());
  ASSERT_TRUE(travels->changes);
  EXPECT_EQ(travels->changes->base_commit, travels->bundle->target_commit);
}

TEST_F(CheckoutSourceTest, ARemoteThatNoDaemonFetchesFromIsLeftAlone) {
  for (const char* remote : {"", "/some/folder.git", "git://git.example/a"}) {
    std::filesystem::remove_all(".git");
    MakeRepository(remote);
    const auto found = Locate({.image = kImage});
    ASSERT_THAT(found, IsOk()) << remote;
    EXPECT_FALSE(found->checkout) << remote;
    EXPECT_THAT(found->notes, ElementsAre(HasSubstr("not checked out"))) << remote;
    EXPECT_THAT(Locate({.image = kImage, .copy_out = true}), testing::Not(IsOk())) << remote;
  }
}

TEST_F(CheckoutSourceTest, ThePolicyIsTheCommits) {
  MakeRepository("ssh://git@git.example/a.git");
  WritePolicy("repository: { network: { allow: ['git.example:22'] } }\n");
  Sh("git add -A; git commit -qm policy; echo '# more' >>cleanroom.yaml");
  const auto found = Locate();
  ASSERT_THAT(found, IsOk());
  EXPECT_THAT(found->policy.path, HasSubstr("at commit"));
  EXPECT_TRUE(found->policy.fetched_from.host.empty()) << "the file says what may be fetched";
  WritePolicy("repository: { enabled: false }\n");
  Sh("git add -A; git commit -qm policy");
  EXPECT_FALSE(Locate()->checkout);
  EXPECT_THAT(Locate({.sync = true}), HasError(ErrorCode::kPolicyConflict));
}

TEST_F(CheckoutSourceTest, AUrlNeedsNoWorkTree) {
  const auto found = Locate({.repo_url = "https://u:p@git.example/a.git", .repo_commit = "v1"});
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->checkout->remote_url(), "https://git.example/a.git");
  EXPECT_EQ(found->checkout->revision(), "v1");
  EXPECT_TRUE(found->policy.of_commit);
  EXPECT_THAT(found->notes, ElementsAre(HasSubstr("not passed on")));
  WritePolicy("");
  const auto beside = Locate({.repo_url = "https://git.example/a.git"});
  ASSERT_THAT(beside, IsOk());
  EXPECT_FALSE(beside->policy.of_commit);
}

}  // namespace
}  // namespace cleanroom::cli
