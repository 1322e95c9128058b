// copy_plan and copy_apply: what a sandbox sends, against real work trees.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>

#include "base/testing/result_matchers.h"
#include "os/scratch.h"
#include "tests/support/tar_builder.h"
#include "workspace/change_set.h"
#include "workspace/copy_apply.h"
#include "workspace/copy_plan.h"
#include "workspace/testing/test_repository.h"

namespace cleanroom::workspace {
namespace {

using cleanroom::testing::TarBuilder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CopyOutTest : public ::testing::Test {
 protected:
  void SetUp() override {
    made_.Write("a", "a\n");
    made_.Write("d/b", "b\n");
    made_.Write(".gitignore", "*.o\nout/\n");
    made_.Commit();
  }

  // What goes in, and so what the sandbox begins with.
  void CopyIn() {
    const auto repository = Discover(made_.top());
    ASSERT_THAT(repository, IsOk());
    const auto set = TakeLocalChanges(*repository);
    ASSERT_THAT(set, IsOk());
    baseline_ = {.commit = set->base_commit, .manifest = set->files};
  }

  // The plan for what the sandbox sends: "ACTION PATH: REASON" each.
  std::vector<std::string> Plan(const TarBuilder& tar, std::vector<std::string> deleted = {},
                                Force force = Force::kNo) {
    if (baseline_.commit.empty()) CopyIn();
    const auto made = TryPlan(tar, std::move(deleted), force);
    if (!made) return {made.error().ToString()};
    std::vector<std::string> out;
    for (const PlannedPath& planned : plan_->paths)
      out.push_back(std::string(ToString(planned.action)) + " " + planned.path + ": " +
                    planned.reason);
    return out;
  }

  Result<void> TryPlan(const TarBuilder& tar, std::vector<std::string> deleted, Force force) {
    CR_TRY_ASSIGN(tar_, os::OpenUnnamed(made_.top() + "/.."));
    CR_TRY(os::WriteAll(tar_.get(), tar.Finish(), "tar"));
    archive::FileSource source(tar_.get(), 0, tar.Finish().size());
    CR_TRY_ASSIGN(const auto repository, Discover(made_.top()));
    CR_TRY_ASSIGN(incoming_, ReadIncoming(source, std::move(deleted), repository.object_format));
    CR_TRY_ASSIGN(plan_, PlanCopyOut(repository, baseline_, *incoming_, force));
    return {};
  }

  Result<Copied> Apply() { return ApplyCopyOut(*plan_, tar_.get()); }

  std::map<std::string, std::string> Files() const {
    std::map<std::string, std::string> out;
    for (auto at = std::filesystem::recursive_directory_iterator(made_.top());
         at != std::filesystem::recursive_directory_iterator(); ++at) {
      if (at->path().filename() == ".git") {
        at.disable_recursion_pending();
        continue;
      }
      const std::string name = at->path().lexically_relative(made_.top());
      if (at->is_symlink()) {
        out[name] = "-> " + std::filesystem::read_symlink(at->path()).string();
      } else {
        out[name] = at->is_directory() ? "/" : made_.Read(name);
      }
    }
    return out;
  }

  TestRepository made_;
  Baseline baseline_;
  os::UniqueFd tar_;
  std::optional<Incoming> incoming_;
  std::optional<CopyPlan> plan_;
};

TEST_F(CopyOutTest, WritesWhatTheSandboxChanged) {
  EXPECT_THAT(Plan(TarBuilder()
                       .File("a", "changed\n")
                       .File("new/deep/tool", "#!/bin/sh\n", {.mode = 04777})
                       .Symlink("new/link", "../a")
                       .File(".gitmodules", "x")
                       .Folder("new")
                       .File("obj.o", "x"),
                   {"d/b", "never"}),
              ElementsAre("write .gitmodules: new in the sandbox",
                          "write a: changed in the sandbox", "delete d/b: deleted in the sandbox",
                          "skip never: the sandbox did not begin with it",
                          "write new/deep/tool: new in the sandbox",
                          "write new/link: new in the sandbox", "skip obj.o: git ignores it"));
  EXPECT_THAT(plan_->paths[0].warning, HasSubstr("submodules"));
  const auto before = made_.GitFolder();
  const auto copied = Apply();
  ASSERT_THAT(copied, IsOk());
  EXPECT_EQ(copied->written, 4U);
  EXPECT_EQ(copied->deleted, 1U);
  EXPECT_EQ(made_.GitFolder(), before);
  const std::map<std::string, std::string> expected = {{".gitignore", "*.o\nout/\n"},
                                                       {".gitmodules", "x"},
                                                       {"a", "changed\n"},
                                                       {"new", "/"},
                                                       {"new/deep", "/"},
                                                       {"new/deep/tool", "#!/bin/sh\n"},
                                                       {"new/link", "-> ../a"}};
  EXPECT_EQ(Files(), expected);
  struct stat info = {};
  ASSERT_EQ(stat(made_.Path("new/deep/tool").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0755U);
  EXPECT_EQ(info.st_mtime, 1'600'000'000);
  // The same again has nothing to do.
  Plan(TarBuilder().File("a", "changed\n"));
  EXPECT_EQ(plan_->CountOf(Action::kNothing), 1U);
}

TEST_F(CopyOutTest, NothingComesOutOfTheTreeOrIntoGit) {
  made_.Run("mkdir ../outside; ln -s ../outside way; git add way");
  made_.Commit();
  const auto before = Files();
  const auto git = made_.GitFolder();
  Plan(TarBuilder()
           .File("../escaped", "x")
           .File("/tmp/cleanroom-escaped", "x")
           .File("d/../../escaped", "x")
           .File(".git/hooks/post-checkout", "x", {.mode = 0755})
           .File("d/.GIT/config", "x")
           .File("git~1/config", "x")
           .Symlink("up", "../outside")
           .Symlink("abs", "/etc")
           .Symlink("hooks", ".git/hooks")
           .HardLink("hard", "a")
           .Device("pipe", '6', {}),
       {"../outside", ".git/HEAD"});
  EXPECT_EQ(plan_->CountOf(Action::kSkip), 13U);
  EXPECT_EQ(plan_->paths.size(), 13U);
  EXPECT_THAT(Apply(), IsOk());
  EXPECT_THAT(Plan(TarBuilder().File("way/escaped", "x"), {}, Force::kYes),
              ElementsAre("conflict way/escaped: a folder on the way is a symbolic link"));
  EXPECT_THAT(Apply(), HasError(ErrorCode::kFailedPrecondition));
  EXPECT_EQ(Files(), before);
  EXPECT_EQ(made_.GitFolder(), git);
  EXPECT_THAT(made_.Run("ls ../outside"), IsEmpty());
}

TEST_F(CopyOutTest, ConflictsAreAllListedAndNothingIsWritten) {
  CopyIn();
  made_.Write("a", "mine\n");
  made_.Run("rm d/b");
  made_.Write("untracked", "mine\n");
  made_.Write("folder/in", "mine\n");
  made_.Write("file", "mine\n");
  const auto before = Files();
  const TarBuilder tar = TarBuilder()
                             .File("a", "theirs\n")
                             .File("d/b", "theirs\n")
                             .File("untracked", "theirs\n")
                             .File("folder", "theirs\n")
                             .File("file/in", "theirs\n")
                             .File("fine", "theirs\n");
  EXPECT_THAT(
      Plan(tar),
      ElementsAre("conflict a: changed in the sandbox and here",
                  "conflict d/b: changed in the sandbox, deleted here",
                  "conflict file/in: a file is where a folder would have to be",
                  "write fine: new in the sandbox", "conflict folder: a folder is in the way",
                  "conflict untracked: new in the sandbox, and a file of yours is there"));
  const auto refused = Apply();
  ASSERT_THAT(refused, HasError(ErrorCode::kFailedPrecondition, HasSubstr("5 conflicts")));
  EXPECT_THAT(refused.error().message(), HasSubstr("untracked (new in the sandbox"));
  EXPECT_EQ(Files(), before);

  Plan(tar, {}, Force::kYes);
  EXPECT_EQ(plan_->CountOf(Action::kConflict), 2U) << "force moves no folders";
  Plan(TarBuilder().File("a", "theirs\n").File("untracked", "theirs\n"), {"d/b"}, Force::kYes);
  ASSERT_THAT(Apply(), IsOk());
  EXPECT_EQ(made_.Read("a"), "theirs\n");
  EXPECT_EQ(made_.Read("untracked"), "theirs\n");
}

TEST_F(CopyOutTest, GoesByWhatWentIn) {
  made_.Write("a", "went in\n");
  made_.Write("local", "went in\n");
  made_.Run("rm d/b");
  CopyIn();
  EXPECT_THAT(
      Plan(TarBuilder().File("a", "sandbox\n").File("local", "went in\n").File("d/b", "back\n")),
      ElementsAre("write a: changed in the sandbox", "write d/b: new in the sandbox",
                  "nothing local: the sandbox did not change it"));
  EXPECT_THAT(Plan(TarBuilder().File("x", "x"), {"local"}),
              ElementsAre("delete local: deleted in the sandbox", "write x: new in the sandbox"));
  made_.Write("local", "later\n");
  EXPECT_THAT(Plan(TarBuilder(), {"local"}),
              ElementsAre("conflict local: deleted in the sandbox, changed here"));
}

TEST_F(CopyOutTest, AFileBecomesAFolderAndBack) {
  Plan(TarBuilder().File("a/in", "x").File("d", "y"), {"a", "d/b"});
  ASSERT_THAT(Apply(), IsOk());
  EXPECT_EQ(made_.Read("a/in"), "x");
  EXPECT_EQ(made_.Read("d"), "y");
  made_.Commit();
  baseline_ = {};
  made_.Write("a/mine.o", "ignored, and not to be lost");
  EXPECT_THAT(
      Plan(TarBuilder().File("a", "x"), {"a/in"}),
      ElementsAre("conflict a: a folder is in the way", "delete a/in: deleted in the sandbox"));
}

TEST_F(CopyOutTest, TheUsersRulesDecideWhatTravels) {
  made_.Write(".cleanroomignore", "secret*\n");
  made_.Write("secret", "mine");
  CopyIn();
  EXPECT_THAT(
      Plan(TarBuilder()
               .File(".gitignore", "")
               .File(":(top)x.o", "x")
               .File("x.o", "x")
               .File("out/x", "x")
               .File("secret", "x"),
           {"secret.too"}),
      ElementsAre("write .gitignore: changed in the sandbox", "skip :(top)x.o: git ignores it",
                  "skip out/x: git ignores it", "skip secret: named in .cleanroomignore",
                  "skip secret.too: named in .cleanroomignore", "skip x.o: git ignores it"));
}

TEST_F(CopyOutTest, LineEndsOfACheckoutAreNoChange) {
  made_.Write(".gitattributes", "*.txt text eol=crlf\n");
  made_.Write("t.txt", "1\r\n2\r\n");
  made_.Commit();
  EXPECT_THAT(Plan(TarBuilder().File("t.txt", "1\r\n2\r\n")),
              ElementsAre("nothing t.txt: it is the same here"));
  EXPECT_THAT(Plan(TarBuilder().File("t.txt", "3\r\n")),
              ElementsAre("write t.txt: changed in the sandbox"));
}

TEST_F(CopyOutTest, SubmodulesAreNotWrittenInto) {
  made_.Run("git init -q ../lib && cd ../lib && git commit -q --allow-empty -m lib");
  made_.Run("git submodule --quiet add ../lib lib 2>/dev/null");
  made_.Commit();
  EXPECT_THAT(Plan(TarBuilder().File("lib/x", "x").File("lib2", "x")),
              ElementsAre("skip lib/x: it is a submodule's", "write lib2: new in the sandbox"));
}

TEST_F(CopyOutTest, AnotherCommitOrAChangeInTheMeantimeIsRefused) {
  CopyIn();
  const std::string old = baseline_.commit;
  made_.Commit("another");
  EXPECT_THAT(TryPlan(TarBuilder().File("a", "x"), {}, Force::kNo),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr("the sandbox began with")));
  EXPECT_THAT(TryPlan(TarBuilder().File("a", "x"), {}, Force::kYes), IsOk());
  baseline_.commit = std::string(40, 'a');
  EXPECT_THAT(TryPlan(TarBuilder().File("a", "x"), {}, Force::kYes),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr("does not have commit")));
  baseline_ = {};
  Plan(TarBuilder().File("a", "x").File("z", "x"));
  made_.Write("a", "meanwhile");
  EXPECT_THAT(Apply(),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr("a has changed meanwhile")));
  EXPECT_FALSE(std::filesystem::exists(made_.Path("z")));
  Plan(TarBuilder().File("z", "x"));
  made_.Write("z", "meanwhile");
  EXPECT_THAT(Apply(), HasError(ErrorCode::kFailedPrecondition));
  EXPECT_EQ(made_.Read("z"), "meanwhile");
}

TEST_F(CopyOutTest, LimitsLeaveEverythingAsItWas) {
  CopyIn();
  const auto before = Files();
  // 5 GiB that cost the sandbox nothing: GNU's sparse format.
  const TarBuilder sparse = TarBuilder()
                                .Pax("GNU.sparse.major", "1")
                                .Pax("GNU.sparse.minor", "0")
                                .Pax("GNU.sparse.name", "huge")
                                .Pax("GNU.sparse.realsize", "5368709120")
                                .File("x", "0\n" + std::string(510, '\0'));
  EXPECT_THAT(TryPlan(sparse, {}, Force::kNo),
              HasError(ErrorCode::kResourceExhausted, HasSubstr("5368709120")));
  EXPECT_THAT(TryPlan(TarBuilder(), std::vector<std::string>(1'000'000, "x"), Force::kNo),
              HasError(ErrorCode::kDataCorrupt));
  std::vector<std::string> many;
  for (int i = 0; i < 1'000'000; ++i) many.push_back("f" + std::to_string(i));
  EXPECT_THAT(TryPlan(TarBuilder(), std::move(many), Force::kNo),
              HasError(ErrorCode::kResourceExhausted, HasSubstr("250000 paths")));
  EXPECT_THAT(TryPlan(TarBuilder().File("a", "x").File("./a", "y"), {}, Force::kNo),
              HasError(ErrorCode::kDataCorrupt, HasSubstr("a twice")));
  EXPECT_THAT(TryPlan(TarBuilder().File("n", "x").File("n/m", "y"), {}, Force::kNo),
              HasError(ErrorCode::kDataCorrupt, HasSubstr("both as a file and as a folder")));
  EXPECT_EQ(Files(), before);
}

TEST_F(CopyOutTest, WorksWithSha256Repositories) {
  made_.Run("rm -rf .git; git init -q --object-format=sha256 .");
  made_.Commit();
  EXPECT_THAT(
      Plan(TarBuilder().File("a", "a\n").File("d/b", "x")),
      ElementsAre("nothing a: the sandbox did not change it", "write d/b: changed in the sandbox"));
  EXPECT_THAT(Apply(), IsOk());
}

}  // namespace
}  // namespace cleanroom::workspace
