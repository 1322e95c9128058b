#include "repository/change_set.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include "archive/tar_reader.h"
#include "base/sha256/sha256.h"
#include "base/testing/result_matchers.h"
#include "tests/support/command.h"

namespace cleanroom::repository {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using testing::RunScript;
using ::testing::UnorderedElementsAre;

class ChangeSetTest : public ::testing::Test {
 protected:
  void SetUp() override { Make("sha1"); }

  void Make(const std::string& format) {
    std::filesystem::remove_all(folder_ / "work");
    std::filesystem::remove_all(folder_ / "mirror.git");
    Sh("mkdir -p tmp; git init -q --object-format=" + format + " work; cd work; " + R"(
      printf 'a\n' >a; printf 'b\n' >'b c'; mkdir d; printf 'x\n' >d/keep; printf 'y\n' >d/gone
      printf '* text\n*.bat eol=crlf\n' >.gitattributes; printf '1\n2\n' >run.bat
      printf 'secret export-ignore\n' >>.gitattributes; printf 's\n' >secret
      git add -A; git commit -qm base; git clone -q --bare . ../mirror.git)");
    commit_ = Line("cd work; git rev-parse HEAD");
  }

  std::string Sh(const std::string& script) {
    const auto ran =
        RunScript("set -e; cd " + folder_.path() +
                  "; export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b "
                  "GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; " +
                  script);
    EXPECT_EQ(ran.status, 0) << script << "\n" << ran.output;
    return ran.output;
  }
  std::string Line(const std::string& script) {
    std::string out = Sh(script);
    while (out.ends_with('\n')) out.pop_back();
    return out;
  }

  // As a client makes it, of what the work tree has beyond its commit.
  ChangeSet Take(const std::string& change, std::vector<ChangedPath> files) {
    Sh("cd work; " + change +
       "; git add -A; git diff --cached --binary --full-index HEAD >../patch");
    ChangeSet out{.format = std::string(kChangeSetFormat),
                  .base_commit = commit_,
                  .digest = {},
                  .tree = Line("cd work; git write-tree"),
                  .patch = {},
                  .files = std::move(files)};
    std::ifstream in(folder_ / "patch");
    out.patch.assign(std::istreambuf_iterator<char>(in), {});
    out.digest = Sha256Hex(out.patch);
    return out;
  }

  Result<AppliedChanges> Apply(const ChangeSet& changes) {
    return ApplyChangeSet(mirror_, commit_, changes, {});
  }

  // Files and links of all archives.
  static std::map<std::string, std::string> Contents(const AppliedChanges& applied) {
    std::map<std::string, std::string> out;
    if (!applied.writes()) return out;
    auto source = applied.OpenArchive({});
    EXPECT_THAT(source, IsOk());
    auto reader = archive::TarReader::Open(**source, {});
    if (!reader) return {{"", reader.error().ToString()}};
    archive::TarEntry entry;
    for (;;) {
      const auto more = reader->Next(entry);
      EXPECT_THAT(more, IsOk());
      if (!more || !*more) break;
      if (entry.type == archive::EntryType::kFolder) continue;
      std::string& text = out[entry.path];
      if (entry.type == archive::EntryType::kSymlink) text = "-> " + entry.target;
      if (entry.type == archive::EntryType::kFile && (entry.permissions & 0100) != 0) text = "x ";
      EXPECT_TRUE(reader->ReadData([&](uint64_t, std::span<const uint8_t> data) -> Result<void> {
        text.append(data.begin(), data.end());
        return {};
      }));
    }
    return out;
  }

  testing::TestFolder folder_;
  git::Git git_{git::GitConfig{}};
  git::Mirror mirror_{git_, folder_ / "mirror.git"};
  std::string commit_;
};

TEST_F(ChangeSetTest, BecomesFilesAsACheckoutWritesThemAndPathsToRemove) {
  const auto changes = Take(
      R"(printf 'a2\n' >a; rm d/gone; printf '1\n2\n3\n' >run.bat; printf 't\n' >secret; ln -s a link
         printf 'new' >'n
l'; chmod +x 'b c')",
      {{"a"}, {"b c"}, {"d/gone", true}, {"link"}, {"n\nl"}, {"run.bat"}, {"secret"}});
  const auto applied = Apply(changes);
  ASSERT_THAT(applied, IsOk());
  EXPECT_THAT(applied->removed(), ElementsAre("d/gone"));
  EXPECT_THAT(Contents(*applied),
              UnorderedElementsAre(Pair("a", "a2\n"), Pair("b c", "x b\n"), Pair("link", "-> a"),
                                   Pair("n\nl", "new"), Pair("run.bat", "1\r\n2\r\n3\r\n"),
                                   Pair("secret", "t\n")));
  EXPECT_EQ(Line("cd mirror.git; git rev-list --all --objects | wc -l; git fsck 2>&1"), "10")
      << "the mirror has changed";
}

TEST_F(ChangeSetTest, OfARepositoryWithLongIds) {
  Make("sha256");
  const auto applied = Apply(Take("printf 'a2\\n' >a", {{"a"}}));
  ASSERT_THAT(applied, IsOk());
  EXPECT_THAT(Contents(*applied), ElementsAre(Pair("a", "a2\n")));
}

TEST_F(ChangeSetTest, MayBeEmpty) {
  const auto applied = Apply(Take(":", {}));
  ASSERT_THAT(applied, IsOk());
  EXPECT_TRUE(applied->empty());
}

TEST_F(ChangeSetTest, ManyFiles) {
  std::vector<ChangedPath> files;
  std::string script =
      "for i in $(seq 3000); do echo $i >a-long-name-of-a-file-that-is-new-$i; done";
  for (int i = 1; i <= 3000; ++i)
    files.push_back({"a-long-name-of-a-file-that-is-new-" + std::to_string(i)});
  const auto applied = Apply(Take(script, std::move(files)));
  ASSERT_THAT(applied, IsOk());
  EXPECT_EQ(Contents(*applied).size(), 3000u);
}

TEST_F(ChangeSetTest, RefusesWhatContradictsItself) {
  const ChangeSet good = Take("printf 'a2\\n' >a", {{"a"}});
  const auto refused = [&](const std::function<void(ChangeSet&)>& spoil, const std::string& why) {
    ChangeSet bad = good;
    spoil(bad);
    const auto applied = Apply(bad);
    ASSERT_THAT(applied, HasError(ErrorCode::kInvalidArgument));
    EXPECT_THAT(applied.error().message(), HasSubstr(why));
  };
  refused([](auto& c) { c.format = "tar"; }, "knows only git-diff-v1");
  refused([](auto& c) { c.base_commit = std::string(40, '0'); }, "the checkout is of");
  refused([](auto& c) { c.patch += "\n"; }, "damaged on its way");
  refused([](auto& c) { c.tree = std::string(40, '1'); }, "makes the tree");
  refused([](auto& c) { c.files.clear(); }, "the first of them is a");
  refused([](auto& c) { c.files.push_back({"z"}); }, "the first of them is z");
  refused([](auto& c) { c.files[0].deleted = true; }, "other files");
  refused(
      [](auto& c) {
        c.patch = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-other\n+a2\n";
        c.digest = Sha256Hex(c.patch);
      },
      "does not apply");
}

TEST_F(ChangeSetTest, RefusesPathsThatLeaveTheTreeOrMeanGit) {
  for (const char* path : {"../x", ".git/hooks/post-checkout", ".GIT/config", "git~1/config",
                           "d/.git/x", "/etc/passwd", ".g\u200cit/config"}) {
    ChangeSet bad = Take(":", {{path}});
    bad.patch = fmt::format(
        "diff --git a/{0} b/{0}\nnew file mode 100755\n--- /dev/null\n+++ b/{0}\n@@ -0,0 +1 "
        "@@\n+x\n",
        path);
    bad.digest = Sha256Hex(bad.patch);
    EXPECT_THAT(Apply(bad), HasError(ErrorCode::kInvalidArgument)) << path;
  }
}

}  // namespace
}  // namespace cleanroom::repository
