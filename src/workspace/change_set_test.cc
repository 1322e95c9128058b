#include "workspace/change_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/sha256/sha256.h"
#include "base/testing/result_matchers.h"
#include "workspace/testing/test_repository.h"

namespace cleanroom::workspace {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<std::string> PathsOf(const ChangeSet& set) {
  std::vector<std::string> out;
  out.reserve(set.files.size());
  for (const ChangedFile& file : set.files) out.push_back((file.deleted ? "-" : "+") + file.path);
  return out;
}

class ChangeSetTest : public ::testing::Test {
 protected:
  Result<ChangeSet> Take(const ChangeSetLimits& limits = {}) {
    CR_TRY_ASSIGN(const auto repository, Discover(made_.top()));
    return TakeLocalChanges(repository, limits);
  }
  // What the other side does: the patch on a clean checkout gives the tree.
  std::string TreeAfter(const ChangeSet& set) {
    std::ofstream(made_.top() + "/../patch", std::ios::binary) << set.patch;
    return made_.Run(
        "rm -rf ../applied && git clone -q --no-checkout . ../applied && cd ../applied && git "
        "checkout -q " +
        set.base_commit +
        " && git apply --index --whitespace=nowarn --binary ../patch && git write-tree");
  }
  TestRepository made_;
};

TEST_F(ChangeSetTest, HasAllThatGitWouldAdd) {
  made_.Write("kept", "same");
  made_.Write("edited", "before\n");
  made_.Write("gone", "x");
  made_.Write("program", "#!/bin/sh\n");
  made_.Write("file-to-folder", "x");
  made_.Write("folder/to-file", "x");
  made_.Write(".gitignore", "*.o\n");
  made_.Commit();
  made_.Write("edited", "after\n");
  made_.Write("new/deep/file", std::string("\0binary\xff", 8));
  made_.Write("junk.o", "x");
  made_.Run(
      "rm gone; chmod +x program; ln -s ../outside link; mkdir empty; git add new; "
      "rm file-to-folder; mkdir file-to-folder; echo y >file-to-folder/in; "
      "rm -r folder; echo z >folder");
  const auto before = made_.GitFolder();
  const auto set = Take();
  ASSERT_THAT(set, IsOk());
  EXPECT_EQ(made_.GitFolder(), before);
  EXPECT_THAT(PathsOf(*set),
              ElementsAre("+edited", "-file-to-folder", "+file-to-folder/in", "+folder",
                          "-folder/to-file", "-gone", "+link", "+new/deep/file", "+program"));
  EXPECT_EQ(TreeAfter(*set), set->tree);
  EXPECT_EQ(set->digest, Sha256Hex(set->patch));
  EXPECT_EQ(set->files[0].sha256, Sha256Hex("after\n"));
  EXPECT_EQ(set->files[6].mode, kModeLink);
  EXPECT_EQ(set->files[6].sha256, Sha256Hex("../outside"));
  EXPECT_EQ(set->files[8].mode, kModeProgram);
}

TEST_F(ChangeSetTest, IsEmptyForACleanWorkTree) {
  made_.Write("file", "x");
  made_.Commit();
  made_.Run("touch -d '1 hour ago' file");
  const auto set = Take();
  ASSERT_THAT(set, IsOk());
  EXPECT_TRUE(set->empty());
  EXPECT_EQ(set->patch, "");
  EXPECT_EQ(set->tree, made_.Run("git rev-parse HEAD^{tree}"));
}

TEST_F(ChangeSetTest, WhatIsStagedCountsAsTheWorkTreeHasIt) {
  made_.Write("a", "1\n");
  made_.Commit();
  made_.Run("echo 2 >a; git add a; echo 3 >a; echo n >new; git add new; rm new; git add -N . ");
  const auto set = Take();
  ASSERT_THAT(set, IsOk());
  EXPECT_THAT(PathsOf(*set), ElementsAre("+a"));
  EXPECT_THAT(set->patch, HasSubstr("+3"));
}

TEST_F(ChangeSetTest, ASplitIndexIsLeftAlone) {
  made_.Write("a", "1\n");
  made_.Commit();
  made_.Run(
      "git config core.splitIndex true; git update-index --split-index; echo 2 >a; echo n >new");
  const auto before = made_.GitFolder();
  const auto set = Take();
  ASSERT_THAT(set, IsOk());
  EXPECT_THAT(PathsOf(*set), ElementsAre("+a", "+new"));
  EXPECT_EQ(made_.GitFolder(), before);
}

TEST_F(ChangeSetTest, AChangeInTheSecondOfTheCommitIsSeen) {
  made_.Write("a", "1\n");
  made_.Commit();
  // Of the same size and, to git, of the same time as what the index has seen.
  made_.Run(
      "touch -d @1700000000 a; git update-index a; touch -d @1700000000 .git/index; "
      "echo 2 >a; touch -d @1700000000 a");
  const auto set = Take();
  ASSERT_THAT(set, IsOk());
  EXPECT_THAT(PathsOf(*set), ElementsAre("+a"));
}

TEST_F(ChangeSetTest, OddNamesTravel) {
  made_.Write("x", "x");
  made_.Commit();
  const std::vector<std::string> names = {
      std::string(255, 'n'), "new\nline", "tab\tquote\"\\", "\xc3\xa9",
      "e\xcc\x81",           " lead",     "-dash",          "*"};
  for (const std::string& name : names) made_.Write(name, name);
  const auto set = Take();
  ASSERT_THAT(set, IsOk());
  for (const std::string& name : names) EXPECT_THAT(PathsOf(*set), Contains("+" + name));
  EXPECT_EQ(TreeAfter(*set), set->tree);

  made_.Write("latin\xe9", "x");
  EXPECT_THAT(Take(), HasError(ErrorCode::kInvalidArgument, HasSubstr("latin\\xe9")));
}

TEST_F(ChangeSetTest, CleanroomignoreKeepsBack) {
  made_.Write("secret.env", "committed\n");
  made_.Write("app", "1\n");
  made_.Commit();
  made_.Write("secret.env", "password\n");
  made_.Run("git add secret.env");
  made_.Write("app", "2\n");
  made_.Write("private/notes", "x");
  made_.Write("sub/local.txt", "x");
  made_.Write("sub/.cleanroomignore", "local.txt\n");
  made_.Write(".cleanroomignore", "*.env\nprivate/\n");
  const auto set = Take();
  ASSERT_THAT(set, IsOk());
  EXPECT_THAT(PathsOf(*set), ElementsAre("+.cleanroomignore", "+app", "+sub/.cleanroomignore"));
  EXPECT_THAT(set->patch, Not(HasSubstr("password")));
  EXPECT_THAT(set->left_out, Contains(LeftOut{"private/notes", "named in .cleanroomignore"}));
  EXPECT_THAT(set->left_out, Contains(LeftOut{"secret.env", "named in .cleanroomignore"}));
}

TEST_F(ChangeSetTest, OnlyTheUsersOwnFiltersRun) {
  made_.Write(".gitattributes", "*.up filter=up\n*.evil filter=evil\n");
  made_.Commit();
  made_.Run(
      "git config -f \"$GIT_CONFIG_GLOBAL\" filter.up.clean 'tr a-z A-Z'; "
      "git config filter.up.clean 'tr a-z x'; git config filter.evil.clean 'tr a-z y'; "
      "git config filter.evil.required true");
  made_.Write("a.up", "abc");
  made_.Write("a.evil", "abc");
  const auto set = Take();
  ASSERT_THAT(set, IsOk());
  ASSERT_THAT(PathsOf(*set), ElementsAre("+a.evil", "+a.up"));
  EXPECT_EQ(set->files[0].sha256, Sha256Hex("abc"));
  EXPECT_EQ(set->files[1].sha256, Sha256Hex("ABC"));
}

TEST_F(ChangeSetTest, RefusesByName) {
  made_.Write("a", "base\n");
  made_.Commit();
  made_.Run(
      "git checkout -q -b side; echo side >a; git commit -qam side; git checkout -q main; echo "
      "main "
      ">a; git commit -qam main; git merge side >/dev/null || true");
  EXPECT_THAT(Take(), HasError(ErrorCode::kFailedPrecondition, HasSubstr("a is of a merge")));
}

TEST_F(ChangeSetTest, LimitsNameTheLargest) {
  made_.Write("x", "x");
  made_.Commit();
  made_.Run("truncate -s 5M big; head -c 100000 /dev/urandom >random");
  ChangeSetLimits limits;
  limits.snapshot.max_content_bytes = 4 << 20;
  EXPECT_THAT(Take(limits), HasError(ErrorCode::kResourceExhausted, HasSubstr("big with 5242880")));
  limits = {};
  limits.max_patch_bytes = 50'000;
  EXPECT_THAT(Take(limits),
              HasError(ErrorCode::kResourceExhausted, HasSubstr("larger than 50000")));
  limits = {};
  limits.snapshot.max_files = 1;
  EXPECT_THAT(Take(limits), HasError(ErrorCode::kResourceExhausted, HasSubstr("2 files")));
}

TEST_F(ChangeSetTest, SubmodulesAreRefusedOrLeftAlone) {
  made_.Write("x", "x");
  made_.Commit();
  made_.Run("git init -q ../lib && cd ../lib && git commit -q --allow-empty -m lib");
  made_.Run("git submodule --quiet add ../lib lib 2>/dev/null");
  EXPECT_THAT(Take(), HasError(ErrorCode::kFailedPrecondition, HasSubstr("submodule lib")));
  made_.Commit();
  EXPECT_THAT(Take(), IsOk());
  made_.Write("lib/new", "x");
  EXPECT_THAT(Take(), HasError(ErrorCode::kFailedPrecondition, HasSubstr("lib has local changes")));
  made_.Run("cd lib; git add -A; git commit -qm local");
  EXPECT_THAT(Take(), HasError(ErrorCode::kFailedPrecondition, HasSubstr("another commit")));
}

TEST_F(ChangeSetTest, NestedRepositoriesAreLeftOutAndTold) {
  made_.Write("x", "x");
  made_.Commit();
  made_.Run("git init -q nested && cd nested && git commit -q --allow-empty -m x && echo y >y");
  const auto set = Take();
  ASSERT_THAT(set, IsOk());
  EXPECT_THAT(set->files, IsEmpty());
  ASSERT_EQ(set->left_out.size(), 1U);
  EXPECT_EQ(set->left_out[0].path, "nested/");
}

TEST_F(ChangeSetTest, WorksInASparsePartialShallowCloneAndALinkedWorktree) {
  made_.Write("in/a", "1\n");
  made_.Write("out/b", "1\n");
  made_.Commit();
  made_.Push();
  made_.Run(
      "git -C ../origin.git config uploadpack.allowFilter true; "
      "git clone -q --depth 1 --filter=blob:none --sparse file://$PWD/../origin.git ../clone; "
      "cd ../clone; git sparse-checkout set in; echo 2 >in/a; mkdir out; echo 3 >out/c");
  auto repository = Discover(made_.top() + "/../clone");
  ASSERT_THAT(repository, IsOk());
  EXPECT_EQ(repository->git->Config("core.sparsecheckout"), "true");
  auto set = TakeLocalChanges(*repository);
  ASSERT_THAT(set, IsOk());
  EXPECT_THAT(PathsOf(*set), ElementsAre("+in/a", "+out/c"));

  made_.Run("git worktree add -q ../tree -b side; echo 5 >../tree/in/a");
  repository = Discover(made_.top() + "/../tree");
  set = TakeLocalChanges(*repository);
  ASSERT_THAT(set, IsOk());
  EXPECT_THAT(PathsOf(*set), ElementsAre("+in/a"));
}

TEST_F(ChangeSetTest, PipesAndEmptyFoldersStay) {
  made_.Write("a", "1\n");
  made_.Commit();
  made_.Run("mkfifo pipe; mkdir -p empty/folder");
  EXPECT_THAT(Take()->files, IsEmpty());
  made_.Run("rm a; mkfifo a");
  EXPECT_THAT(Take(),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr("a is tracked, and is a")));
}

TEST_F(ChangeSetTest, AFileThatAlwaysChangesIsNamed) {
  made_.Write("log", std::string(1 << 20, 'x'));
  made_.Commit();
  // A filter of the user's own that is slow to read, and changes what it reads.
  made_.Write(".gitattributes", "log filter=busy\n");
  made_.Commit();
  made_.Run(
      "git config -f \"$GIT_CONFIG_GLOBAL\" filter.busy.clean 'cat; echo x >>log'; echo y >log");
  EXPECT_THAT(Take(), HasError(ErrorCode::kUnavailable, HasSubstr("log changes while it is read")));
}

TEST_F(ChangeSetTest, ManyFilesAreQuick) {
  made_.Run(
      "{ printf 'commit refs/heads/main\ncommitter T <t@host.example> 0 +0000\ndata 1\nx\n'; "
      "seq 10000 | awk '{ printf \"M 644 inline d/%d/%d\\ndata 1\\nx\\n\", $1 % 100, $1 }'; } | "
      "git fast-import --quiet && git checkout -q -f main");
  made_.Run("echo changed >d/1/1; rm d/2/2; echo new >d/new");
  const auto begin = std::chrono::steady_clock::now();
  const auto set = Take();
  const auto took = std::chrono::steady_clock::now() - begin;
  ASSERT_THAT(set, IsOk());
  EXPECT_EQ(set->files.size(), 3U);
  EXPECT_LT(took, std::chrono::seconds(20));  // a tenth of a second where nothing else runs
}

}  // namespace
}  // namespace cleanroom::workspace
