#include "workspace/commit_bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/sha256/sha256.h"
#include "base/testing/result_matchers.h"
#include "workspace/testing/test_repository.h"

namespace cleanroom::workspace {
namespace {

using ::testing::HasSubstr;

class CommitBundleTest : public ::testing::Test {
 protected:
  Result<std::optional<CommitBundle>> Make(size_t max_bytes = kMaxBundleBytes,
                                           const std::string& wanted = "origin") {
    CR_TRY_ASSIGN(const auto repository, Discover(made_.top()));
    CR_TRY_ASSIGN(const auto remote, FindRemote(repository, wanted));
    return BundleLocalCommits(repository, remote, max_bytes);
  }
  TestRepository made_;
};

TEST_F(CommitBundleTest, HasWhatTheRemoteHasNot) {
  made_.Write("old", std::string(1 << 20, 'o'));
  made_.Commit("pushed");
  made_.Push();
  auto bundle = Make();
  ASSERT_THAT(bundle, IsOk());
  EXPECT_FALSE(*bundle);

  made_.Write("new", "x");
  made_.Commit("local 1");
  const std::string head = made_.Commit("local 2");
  const auto before = made_.GitFolder();
  bundle = Make();
  ASSERT_THAT(bundle, IsOk());
  ASSERT_TRUE(*bundle);
  EXPECT_EQ(made_.GitFolder(), before);
  EXPECT_EQ((*bundle)->target_commit, head);
  EXPECT_EQ((*bundle)->digest, Sha256Hex((*bundle)->bundle));
  EXPECT_LT((*bundle)->bundle.size(), 4096U);
  // A clone of the remote takes it.
  std::ofstream(made_.top() + "/../b", std::ios::binary) << (*bundle)->bundle;
  EXPECT_EQ(
      made_.Run(
          "git clone -q ../origin.git ../clone -b main && cd ../clone && git fetch -q ../b HEAD && "
          "git rev-parse FETCH_HEAD"),
      head);
}

TEST_F(CommitBundleTest, HasAllWhereNothingWasPushed) {
  const std::string head = made_.Commit();
  const auto bundle = Make();
  ASSERT_THAT(bundle, IsOk());
  ASSERT_TRUE(*bundle);
  EXPECT_EQ((*bundle)->target_commit, head);
}

TEST_F(CommitBundleTest, RefusesWhatIsTooLarge) {
  made_.Run("head -c 3000000 /dev/urandom >random");
  made_.Commit();
  EXPECT_THAT(Make(2 << 20),
              HasError(ErrorCode::kResourceExhausted, HasSubstr("larger than 2 MiB")));
}

TEST_F(CommitBundleTest, RefusesCommitsOfSubmodulesThatAreNowhereElse) {
  made_.Run("git init -q ../lib && cd ../lib && git commit -q --allow-empty -m lib");
  made_.Run("git submodule --quiet add ../lib lib 2>/dev/null");
  made_.Commit();
  EXPECT_THAT(Make(), IsOk());
  made_.Run("cd lib && git commit -q --allow-empty -m local");
  made_.Commit();
  EXPECT_THAT(Make(), HasError(ErrorCode::kFailedPrecondition, HasSubstr("of the submodule lib")));
}

TEST_F(CommitBundleTest, AsksNothingOfSubmodulesWhereTheRemoteHasTheCommit) {
  made_.Run("git init -q ../lib && cd ../lib && git commit -q --allow-empty -m lib");
  made_.Run("git submodule --quiet add ../lib lib 2>/dev/null");
  made_.Run("cd lib && git commit -q --allow-empty -m local");
  made_.Commit();
  made_.Push();
  const auto bundle = Make();
  ASSERT_THAT(bundle, IsOk());
  EXPECT_FALSE(*bundle);
}

TEST_F(CommitBundleTest, RefusesARemoteOfWhichNothingIsKnown) {
  made_.Commit();
  EXPECT_THAT(Make(kMaxBundleBytes, "https://host.example/other"),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr("nothing is known")));
}

}  // namespace
}  // namespace cleanroom::workspace
