// SandboxDiff against git itself: what it prints, applied to the commit, is the sandbox's tree.
#include "workspace/sandbox_diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/testing/result_matchers.h"
#include "os/scratch.h"
#include "tests/support/tar_builder.h"
#include "workspace/testing/test_repository.h"

namespace cleanroom::workspace {
namespace {

using cleanroom::testing::TarBuilder;
using Form = SandboxDiff::Form;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class SandboxDiffTest : public ::testing::Test {
 protected:
  void SetUp() override {
    made_.Write("a", "one\n");
    made_.Write("d/b", "b\n");
    made_.Write("gone/deep/x", "x\n");
    made_.Write("binary", std::string("\0\1\2", 3));
    made_.Write("file", "becomes a folder\n");
    made_.Write("folder/in", "becomes a file\n");
    commit_ = made_.Commit();
  }

  Result<SandboxDiff> Make(const TarBuilder& tar, std::vector<std::string> deleted = {}) {
    const std::string bytes = tar.Finish();
    CR_TRY_ASSIGN(const auto file, os::OpenUnnamed(made_.top() + "/.."));
    CR_TRY(os::WriteAll(file.get(), bytes, "tar"));
    archive::FileSource source(file.get(), 0, bytes.size());
    CR_TRY_ASSIGN(const auto repository, Discover(made_.top()));
    CR_TRY_ASSIGN(const auto incoming,
                  ReadIncoming(source, std::move(deleted), repository.object_format));
    return SandboxDiff::Make(repository, commit_, incoming, file.get());
  }
  static std::string Print(const SandboxDiff& diff, Form form = Form::kPatch) {
    std::string out;
    EXPECT_THAT(diff.Print(form,
                           [&out](std::string_view data) -> Result<void> {
                             out += data;
                             return {};
                           }),
                IsOk());
    return out;
  }
  // The tree that the patch makes of the commit, file by file.
  std::string Applied(const std::string& patch) {
    std::ofstream(made_.top() + "/../patch", std::ios::binary) << patch;
    made_.Run("rm -rf ../clone; git clone -q . ../clone; cd ../clone; git checkout -q " + commit_ +
              "; git apply --index ../patch");
    return made_.Run("cd ../clone; git ls-files -s");
  }

  TestRepository made_;
  std::string commit_;
};

TEST_F(SandboxDiffTest, ThePatchMakesTheSandboxsTree) {
  const std::string odd = "o\"dd\\ \n\t\xc3\xbc/" + std::string(255, 'n');
  const auto before = made_.GitFolder();
  const auto diff = Make(TarBuilder()
                             .File("a", "one\ntwo without a newline")
                             .File("d/b", "b\n", {.mode = 0755})
                             .File("binary", std::string("\0\1\3\xff", 4))
                             .File("file/now/a/folder", "")
                             .File("folder", "now a file\n")
                             .Symlink("d/link", "../a")
                             .Pax("path", odd)
                             .File("long", "odd\n")
                             .File("-dash", "x")
                             .File(":(top)magic", "x"),
                         {"file", "folder/in", "gone/deep/x"});
  ASSERT_THAT(diff, IsOk());
  EXPECT_TRUE(diff->differs());
  EXPECT_THAT(diff->left_out(), IsEmpty());
  const std::string applied = Applied(Print(*diff));
  made_.Run(
      "rm -r gone file folder; mkdir -p file/now/a; : >file/now/a/folder; "
      "echo 'now a file' >folder; printf 'one\\ntwo without a newline' >a; chmod +x d/b; "
      "printf '\\0\\1\\3\\377' >binary; ln -s ../a d/link; printf x >./-dash; "
      "printf x >':(top)magic'");
  made_.Write(odd, "odd\n");
  made_.Run("git add -A");
  EXPECT_EQ(applied, made_.Run("git ls-files -s"));
  made_.Run("git reset -q --hard");
  EXPECT_THAT(Print(*diff, Form::kNames), AllOf(HasSubstr("d/link\n"), HasSubstr("gone/deep/x\n"),
                                                HasSubstr("\"o\\\"dd\\\\ \\n\\t\\303\\274/nnn")));
  EXPECT_THAT(Print(*diff, Form::kStat), HasSubstr(" 12 files changed"));
}

TEST_F(SandboxDiffTest, NothingOfTheUsersRepositoryIsTouched) {
  const auto before = made_.GitFolder();
  ASSERT_THAT(Make(TarBuilder().File("a", "other\n")), IsOk());
  EXPECT_EQ(made_.GitFolder(), before);
}

TEST_F(SandboxDiffTest, WhatIsAsBeforeIsNoDifference) {
  const auto diff = Make(TarBuilder().File("a", "one\n"));
  ASSERT_THAT(diff, IsOk());
  EXPECT_FALSE(diff->differs());
  EXPECT_EQ(Print(*diff), "");
  EXPECT_THAT(diff->Files(), IsOkAnd(IsEmpty()));
}

TEST_F(SandboxDiffTest, CountsLines) {
  const auto diff = Make(
      TarBuilder().File("a", "1\n2\n").File("binary", std::string("\0", 1)).Symlink("d/b", "../a"),
      {"gone/deep/x"});
  ASSERT_THAT(diff, IsOk());
  const auto files = diff->Files();
  ASSERT_THAT(files, IsOk());
  ASSERT_EQ(files->size(), 4U);
  EXPECT_EQ((*files)[0].path, "a");
  EXPECT_EQ((*files)[0].lines->added, 2U);
  EXPECT_EQ((*files)[0].lines->removed, 1U);
  EXPECT_FALSE((*files)[1].lines.has_value());
  EXPECT_EQ((*files)[2].old_mode, "100644");
  EXPECT_EQ((*files)[2].mode, "120000");
  EXPECT_EQ((*files)[3].mode, "");
}

TEST_F(SandboxDiffTest, HostilePathsAreLeftOut) {
  const auto diff = Make(TarBuilder()
                             .File("../escaped", "x")
                             .File("d/.GIT/config", "x")
                             .File("git~1", "x")
                             .Symlink("abs", "/etc/passwd")
                             .Symlink(".GitModules", "a")
                             .File("fine", "x"),
                         {"d/../../x", ".git/HEAD"});
  ASSERT_THAT(diff, IsOk());
  EXPECT_EQ(diff->left_out().size(), 7U);
  EXPECT_EQ(Print(*diff, Form::kNames), "fine\n");
}

// All that could run if git were not told otherwise leaves a mark.
TEST_F(SandboxDiffTest, NothingRuns) {
  const std::string mark = made_.top() + "/../ran";
  made_.Run(
      "for key in filter.x.clean filter.x.smudge filter.x.process diff.x.textconv "
      "diff.x.command diff.external core.fsmonitor core.pager; do "
      "git config $key 'touch " +
      mark +
      "; cat'; "
      "git config --global $key 'touch " +
      mark +
      "; cat'; done; "
      "git config --global filter.x.required true; git config core.autocrlf input; "
      "git config --global core.autocrlf true; git config --global core.safecrlf true; "
      "mkdir -p .git/hooks; printf '#!/bin/sh\\ntouch " +
      mark +
      "' >.git/hooks/post-index-change; "
      "chmod +x .git/hooks/*");
  const auto diff = Make(TarBuilder()
                             .File(".gitattributes", "* filter=x diff=x\n")
                             .File("a", "changed\r\n")
                             .File("mixed", "1\r\n2\n"));
  ASSERT_THAT(diff, IsOk());
  EXPECT_THAT(Print(*diff), AllOf(HasSubstr("+changed\r\n"), HasSubstr("+1\r\n+2\n")));
  EXPECT_FALSE(std::filesystem::exists(mark));
}

// The sandbox's files have the line ends that git gave them.
TEST_F(SandboxDiffTest, LineEndsAreGits) {
  made_.Write(".gitattributes", "*.bat text eol=crlf\n");
  made_.Write("x.bat", "1\n");
  commit_ = made_.Commit();
  const auto same = Make(TarBuilder().File("x.bat", "1\r\n"));
  ASSERT_THAT(same, IsOk());
  EXPECT_FALSE(same->differs()) << Print(*same);
  EXPECT_THAT(Print(*Make(TarBuilder().File("x.bat", "1\r\n2\r\n"))), HasSubstr(" 1\n+2\n"));
}

TEST_F(SandboxDiffTest, ASubmoduleIsNotLookedInto) {
  made_.Run("git update-index --add --cacheinfo 160000," + commit_ + ",sub; git commit -qm sub");
  commit_ = made_.Run("git rev-parse HEAD");
  const auto diff = Make(TarBuilder().File("sub/x", "x"));
  ASSERT_THAT(diff, IsOk());
  EXPECT_FALSE(diff->differs());
  EXPECT_EQ(diff->left_out().size(), 1U);
}

TEST_F(SandboxDiffTest, SaysWhereTheCommitIsMissing) {
  commit_ = std::string(40, '1');
  const auto diff = Make(TarBuilder());
  ASSERT_THAT(diff, HasError(ErrorCode::kFailedPrecondition));
  EXPECT_THAT(diff.error().message(), AllOf(HasSubstr(made_.top()), HasSubstr(commit_)));
}

TEST(SandboxDiffFormats, RepositoriesOfSha256AndLinkedWorkTrees) {
  TestRepository made;
  made.Run(
      "rm -rf .git; git init -q --object-format=sha256 .; echo 1 >f; git add f; "
      "git commit -qm 1; git worktree add -q ../linked");
  const auto repository = Discover(made.top() + "/../linked");
  ASSERT_THAT(repository, IsOk());
  const std::string bytes = TarBuilder().File("f", "2\n").Finish();
  const auto file = os::OpenUnnamed(made.top() + "/..");
  ASSERT_THAT(os::WriteAll(file->get(), bytes, "tar"), IsOk());
  archive::FileSource source(file->get(), 0, bytes.size());
  const auto incoming = ReadIncoming(source, {}, repository->object_format);
  ASSERT_THAT(incoming, IsOk());
  const auto diff = SandboxDiff::Make(*repository, repository->commit, *incoming, file->get());
  ASSERT_THAT(diff, IsOk());
  std::string patch;
  ASSERT_THAT(diff->Print(Form::kPatch,
                          [&patch](std::string_view data) -> Result<void> {
                            patch += data;
                            return {};
                          }),
              IsOk());
  EXPECT_THAT(patch, HasSubstr("-1\n+2\n"));
}

}  // namespace
}  // namespace cleanroom::workspace
