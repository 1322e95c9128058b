#include "repository/bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/sha256/sha256.h"
#include "base/testing/result_matchers.h"
#include "os/file.h"
#include "tests/support/command.h"

namespace cleanroom::repository {
namespace {

namespace fs = std::filesystem;
using testing::RunScript;

// A work tree of a user's, and the mirror of its remote.
class BundleTest : public ::testing::Test {
 protected:
  BundleTest() {
    Script(
        "mkdir mirrors out; git init -q -b main work; cd work; printf '*.txt eol=crlf\\n' > "
        ".gitattributes; "
        "echo 1 > kept; echo 1 > changed; echo 1 > gone; echo 1 > a.txt; git add -A; git commit "
        "-qm 1; "
        "git clone -q --bare . ../mirrors/m.git");
    base_ = Script("git -C work rev-parse HEAD");
  }

  std::string Script(const std::string& script) {
    const auto done = RunScript("cd " + folder_.path() +
                                "; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b "
                                "GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b "
                                "GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1\n" +
                                script);
    EXPECT_EQ(done.status, 0) << script << "\n" << done.output;
    std::string out = done.output;
    while (out.ends_with('\n')) out.pop_back();
    return out;
  }

  Bundle MakeBundle(const std::string& script, const std::string& range = "origin..main") {
    bytes_.clear();
    Script("cd work; git update-ref refs/heads/origin " + base_ + "; " + script +
           "; git add -A; git commit -qm local; git bundle create -q ../bundle " + range +
           " 2>/dev/null");
    bytes_ = *os::ReadFile(folder_ / "bundle", 100 << 20);
    return {.format = std::string(kBundleFormat),
            .target = Script("git -C work rev-parse HEAD"),
            .digest = Sha256Hex(bytes_),
            .bytes = bytes_};
  }
  std::string ObjectsOfMirror() { return Script("find mirrors/m.git -type f | sort"); }

  testing::TestFolder folder_;
  std::string base_, bytes_;
  git::Git git_{git::GitConfig{}};
  git::Mirror mirror_{git_, folder_ / "mirrors/m.git"};
};

TEST_F(BundleTest, ABundleIsSeenBesideTheMirrorNotInIt) {
  const std::string before = ObjectsOfMirror();
  const Bundle bundle = MakeBundle("echo local > local");
  const auto verified = VerifyBundle(mirror_, bundle, {});
  ASSERT_THAT(verified, IsOk());
  EXPECT_THAT(verified->repository.repository().ReadFile(verified->commit, "local", 100, {}),
              IsOkAnd(::testing::Optional(std::string("local\n"))));
  EXPECT_EQ(ObjectsOfMirror(), before);
}

TEST_F(BundleTest, ABundleThatIsNotWhatItSaysIsRefused) {
  const Bundle good = MakeBundle("echo local > local");
  Bundle bad = good;
  bad.digest = std::string(64, '0');
  EXPECT_THAT(VerifyBundle(mirror_, bad, {}), HasError(ErrorCode::kDataCorrupt));
  bad = good;
  bad.target = std::string(40, '1');
  EXPECT_THAT(VerifyBundle(mirror_, bad, {}), HasError(ErrorCode::kDataCorrupt));
  const std::string cut = bytes_.substr(0, bytes_.size() - 30), noise(1000, 'x');
  for (const std::string& bytes : {cut, noise}) {
    bad = {
        .format = good.format, .target = good.target, .digest = Sha256Hex(bytes), .bytes = bytes};
    EXPECT_THAT(VerifyBundle(mirror_, bad, {}), HasError(ErrorCode::kDataCorrupt));
  }
  bad = good;
  bad.format = "git-bundle-v9";
  EXPECT_THAT(VerifyBundle(mirror_, bad, {}), HasError(ErrorCode::kInvalidArgument));
  // Its ref is the commit that it builds on, its pack another's.
  bad = good;
  bad.target = base_;
  EXPECT_THAT(VerifyBundle(mirror_, bad, {}), HasError(ErrorCode::kDataCorrupt));
  std::string lies = bytes_;
  lies.replace(lies.find("\n" + good.target) + 1, 40, std::string(40, '1'));
  bad = {.format = good.format,
         .target = std::string(40, '1'),
         .digest = Sha256Hex(lies),
         .bytes = lies};
  EXPECT_THAT(VerifyBundle(mirror_, bad, {}), HasError(ErrorCode::kDataCorrupt));
  const std::string large(kMaxBundleBytes + 1, 'x');
  bad = {.format = good.format, .target = good.target, .digest = good.digest, .bytes = large};
  EXPECT_THAT(VerifyBundle(mirror_, bad, {}), HasError(ErrorCode::kResourceExhausted));
  // On top of a commit that is nowhere but there.
  const Bundle floating = MakeBundle("echo more > more", "main~1..main");
  EXPECT_THAT(VerifyBundle(mirror_, floating, {}), HasError(ErrorCode::kFailedPrecondition));
}

TEST_F(BundleTest, ObjectsThatGitRefusesAreRefused) {
  // A tree with a .git in it, made past git's own checks.
  const Bundle bundle = MakeBundle(
      "raw() { printf '%s %s\\0' \"$1\" \"$2\"; printf '%s' $3 | xxd -r -p; }; t=$(git "
      "write-tree); "
      "id=$(raw 40000 .git $t | git hash-object -w --stdin -t tree --literally); c=$(git "
      "commit-tree "
      "-p HEAD -m evil $id); git update-ref refs/heads/evil $c; echo y > y",
      "origin..evil");
  Bundle evil = bundle;
  evil.target = Script("git -C work rev-parse evil");
  EXPECT_THAT(VerifyBundle(mirror_, evil, {}), HasError(ErrorCode::kDataCorrupt));
}

}  // namespace
}  // namespace cleanroom::repository
