#include "workspace/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/testing/result_matchers.h"
#include "workspace/commit_policy.h"
#include "workspace/testing/test_repository.h"

namespace cleanroom::workspace {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(RepositoryTest, FindsWhatThereIs) {
  const TestRepository made;
  made.Write("a/b/file", "x");
  const std::string commit = made.Commit();
  const auto before = made.GitFolder();
  const auto found = Discover(made.Path("a/b"));
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->top, std::filesystem::canonical(made.top()).string());
  EXPECT_EQ(found->prefix, "a/b/");
  EXPECT_EQ(found->commit, commit);
  EXPECT_EQ(found->branch, "main");
  EXPECT_EQ(found->object_format, "sha1");
  EXPECT_THAT(LookAtWorkTree(*found), IsOkAnd(WorkTree::kClean));
  EXPECT_EQ(made.GitFolder(), before);

  made.Write("new", "x");
  EXPECT_THAT(LookAtWorkTree(*found), IsOkAnd(WorkTree::kDirty));
  made.Run("git checkout -q --detach");
  EXPECT_EQ(Discover(made.top())->branch, "");
}

TEST(RepositoryTest, KnowsWhatTheRemoteHas) {
  const TestRepository made;
  made.Commit("one");
  made.Push();
  const auto pushed = Discover(made.top());
  ASSERT_THAT(pushed, IsOk());
  const auto remote = FindRemote(*pushed, "origin");
  ASSERT_THAT(remote, IsOk());
  EXPECT_THAT(IsUpstream(*pushed, *remote, pushed->commit), IsOkAnd(Upstream::kHasIt));
  const std::string local = made.Commit("two");
  EXPECT_THAT(IsUpstream(*pushed, *remote, local), IsOkAnd(Upstream::kUnknown));
  EXPECT_THAT(FindRemote(*pushed, "elsewhere"),
              HasError(ErrorCode::kNotFound, HasSubstr("origin")));
  EXPECT_THAT(FindRemote(*pushed, "--all"), HasError(ErrorCode::kNotFound));

  made.Run("git remote set-url origin https://me:secret@host.example/team/app.git");
  const auto again = Discover(made.top());
  EXPECT_EQ(FindRemote(*again, "origin")->url.ToString(), "https://host.example/team/app.git");
  const auto by_url = FindRemote(*again, "git@host.example:team/app");
  ASSERT_THAT(by_url, IsOk());
  EXPECT_EQ(by_url->name, "origin");
}

TEST(RepositoryTest, SaysWhyItRefuses) {
  const TestRepository made;
  EXPECT_THAT(Discover(made.top()),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr("no commit yet")));
  EXPECT_THAT(Discover(made.top() + "/../origin.git"),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr("bare repository")));
  EXPECT_THAT(Discover(made.top() + "/.git"),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr(".git folder")));
  EXPECT_THAT(Discover("/"),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr("no git repository")));
  EXPECT_THAT(Discover("/nonexistent"), HasError(ErrorCode::kNotFound));
}

TEST(RepositoryTest, IsNotMisledByTheEnvironmentOfAHook) {
  const TestRepository made, other;
  const std::string commit = made.Commit("one");
  other.Commit("two");
  setenv("GIT_DIR", other.Path(".git").c_str(), 1);
  setenv("GIT_INDEX_FILE", other.Path(".git/index").c_str(), 1);
  const auto found = Discover(made.top());
  unsetenv("GIT_DIR");
  unsetenv("GIT_INDEX_FILE");
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->commit, commit);
}

TEST(RepositoryTest, RefusesAWorkTreeThatIsElsewhere) {
  const TestRepository made;
  made.Commit();
  made.Run("git config core.worktree \"$PWD/..\"");
  EXPECT_THAT(Discover(made.top()),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr("says that its work tree is")));
}

TEST(RepositoryTest, ExplainsSomebodyElsesRepository) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to give a repository away";
  const TestRepository made;
  made.Commit();
  made.Run("chown -R 12345 .");
  const auto found = Discover(made.top());
  ASSERT_THAT(found, HasError(ErrorCode::kPermissionDenied, HasSubstr("another user")));
  EXPECT_THAT(found.error().remedy(), HasSubstr("safe.directory"));
}

TEST(RepositoryTest, FindsLinkedWorktreesAndPartialAndShallowClones) {
  const TestRepository made;
  made.Commit("one");
  made.Commit("two");
  made.Push();
  made.Run("git worktree add -q ../other -b side");
  const auto other = Discover(made.top() + "/../other");
  ASSERT_THAT(other, IsOk());
  EXPECT_EQ(other->branch, "side");
  EXPECT_EQ(other->commit, Discover(made.top())->commit);
  made.Run(
      "git -C ../origin.git config uploadpack.allowFilter true; "
      "git clone -q --depth 1 --filter=blob:none file://$PWD/../origin.git ../clone");
  const auto clone = Discover(made.top() + "/../clone");
  ASSERT_THAT(clone, IsOk());
  EXPECT_EQ(clone->git->ReadLine({"rev-parse", "--is-shallow-repository"}), "true");
  EXPECT_EQ(clone->commit, other->commit);
}

TEST(RepositoryTest, RunsNothingThatTheRepositoryNames) {
  const TestRepository made;
  made.Write(".gitattributes", "* filter=evil diff=evil\n");
  made.Write("file", "x\n");
  made.Commit();
  made.Run(R"(
mark="touch $PWD/../ran"
git config core.fsmonitor "$mark"
git config core.pager "$mark"
git config core.sshCommand "$mark"
git config diff.external "$mark"
git config diff.evil.textconv "$mark"
git config diff.evil.command "$mark"
git config filter.evil.clean "$mark"
git config filter.evil.process "$mark"
git config filter.evil.required true
git config alias.status "!$mark"
git config alias.rev-parse "!$mark"
printf '#!/bin/sh\n%s\n' "$mark" >.git/hooks/post-index-change
chmod +x .git/hooks/post-index-change
touch -d '1 hour ago' file
)");
  made.Write("file", "y\n");
  const auto found = Discover(made.top());
  ASSERT_THAT(found, IsOk());
  EXPECT_THAT(LookAtWorkTree(*found), IsOkAnd(WorkTree::kDirty));
  EXPECT_THAT(found->git->Read({"diff-index", "-p", "--no-ext-diff", "--no-textconv", "HEAD"}),
              IsOkAnd(HasSubstr("+y")));
  EXPECT_FALSE(std::filesystem::exists(made.top() + "/../ran"));
  made.Run("git status >/dev/null 2>&1 || true");
  EXPECT_TRUE(std::filesystem::exists(made.top() + "/../ran")) << "git itself ran nothing either";
}

TEST(CommitPolicyTest, GoesByTheCommitUnlessChangesTravel) {
  const TestRepository made;
  made.Write("sub/file", "x");
  made.Write(".buildkite/cleanroom.yaml", "version: 1 # committed\n");
  made.Commit();
  auto repository = Discover(made.Path("sub"));
  ASSERT_THAT(repository, IsOk());
  auto choice = ChoosePolicy(*repository, LocalChanges::kStay);
  ASSERT_THAT(choice, IsOk());
  ASSERT_TRUE(choice->policy);
  EXPECT_EQ(choice->policy->text, "version: 1 # committed\n");
  EXPECT_EQ(choice->policy->path, ".buildkite/cleanroom.yaml");
  EXPECT_THAT(choice->difference, IsEmpty());

  made.Write(".buildkite/cleanroom.yaml", "version: 1 # committed\r\n");
  EXPECT_THAT(ChoosePolicy(*repository, LocalChanges::kStay)->difference, IsEmpty());
  made.Write("sub/cleanroom.yaml", "version: 1 # local\n");
  choice = ChoosePolicy(*repository, LocalChanges::kStay);
  EXPECT_EQ(choice->policy->text, "version: 1 # committed\n");
  EXPECT_THAT(choice->difference, HasSubstr("--copy-in"));
  choice = ChoosePolicy(*repository, LocalChanges::kTravel);
  EXPECT_EQ(choice->policy->path, "sub/cleanroom.yaml");
}

TEST(CommitPolicyTest, ALinkIsNoPolicy) {
  const TestRepository made;
  made.Run("ln -s /etc/passwd cleanroom.yaml");
  made.Commit();
  const auto repository = Discover(made.top());
  EXPECT_THAT(ReadPolicyAtCommit(*repository),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr("symbolic link")));
  EXPECT_THAT(ReadPolicyInWorkTree(*repository), HasError(ErrorCode::kFailedPrecondition));
}

}  // namespace
}  // namespace cleanroom::workspace
