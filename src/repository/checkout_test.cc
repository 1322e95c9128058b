#include "repository/checkout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/sha256/sha256.h"
#include "base/testing/result_matchers.h"
#include "tests/support/file_tree.h"
#include "tests/support/git_server.h"

namespace cleanroom::repository {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::GitServer;
using ::testing::HasSubstr;
using testing::RunScript;
using ::testing::SizeIs;

class CheckoutTest : public ::testing::Test {
 protected:
  CheckoutTest() { server_.Script("git init -q -b main work; git init -q --bare -b main r.git"); }

  // Runs a script in the work tree, commits all, pushes; the commit's id.
  std::string Commit(const std::string& script, const std::string& flags = "") {
    return server_.Script(
        "cd work\n{ " + script + "\ngit add -A\n" + flags +
        " git commit -qm x --allow-empty; git push -qf ../r.git --all; "
        "git push -qf ../r.git --tags; } >../log 2>&1 || { cat ../log; exit 1; }\n"
        "git rev-parse HEAD");
  }
  Result<git::Resolved> Resolve(const git::Wish& wish, const std::string& name = "r.git") {
    CR_TRY_ASSIGN(const git::RemoteUrl url, mirrors_.ParseUrl(server_.Url(name)));
    return mirrors_.EnsureCommit(url, wish, {});
  }
  Result<CheckedOut> Make(const git::Wish& wish, const std::string& name = "r.git") {
    CR_TRY_ASSIGN(const git::Resolved resolved, Resolve(wish, name));
    CheckoutOptions options = options_;
    options.origin = server_.Url(name);
    return checkouts_.Make(resolved, options, {});
  }

  // Runs a script in the checkout as a guest would have it: an overlay of the layers, with xino.
  // "unmountable" where the host lets nobody mount.
  std::string InGuest(const CheckedOut& made, const std::string& script) {
    std::string mounts =
        "set -e; d=" + scratch_.path() + "/guest; mkdir -p $d; mount -t tmpfs t $d; ";
    std::string lower;
    for (size_t i = 0; i < made.layers.size(); ++i) {
      const std::string at = "$d/" + std::to_string(i);
      mounts += "mkdir " + at + "; mount -o ro,loop " + made.layers[i].record.file().string() +
                " " + at + "; ";
      lower += (lower.empty() ? "" : ":") + at;
    }
    mounts += "mkdir $d/u $d/w $d/m; mount -t overlay o -o xino=on,lowerdir=" + lower +
              ",upperdir=$d/u,workdir=$d/w $d/m; cd $d/m; export GIT_CONFIG_GLOBAL=/dev/null "
              "GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory "
              "GIT_CONFIG_VALUE_0='*'\n";
    const std::string file = scratch_ / "script";
    (void)os::WriteFileAtomic(file, mounts + script);
    const auto done = RunScript("unshare -m bash " + file + " 2>&1");
    std::string out = done.output;
    while (out.ends_with('\n')) out.pop_back();
    return done.status == 0 ? out : "failed: " + out;
  }
  static bool CanMount() {
    return ::geteuid() == 0 &&
           RunScript(
               "unshare -m sh -c 'd=$(mktemp -d); truncate -s 20M $d/f; mkfs.ext4 -q $d/f; "
               "mkdir $d/m; mount -o loop $d/f $d/m; umount $d/m; rm -r $d'")
                   .status == 0;
  }
  // What `git checkout` makes, as a list; owner and times aside.
  std::string Expected(const std::string& commit, const std::string& name = "r.git") {
    return server_.Script("rm -rf expected; umask 022; git clone -q --no-local -n " + name +
                          " expected 2>&1; cd expected; git checkout -q " + commit + "; " + kList);
  }
  static constexpr const char* kList =
      "find . -path ./.git -prune -o -printf '%P %y %m %l ' -type f -exec sha256sum {} \\; -o "
      "-path ./.git -prune -o -printf '%P %y %m %l\\n' | grep -v '^ d' | LC_ALL=C sort";

  GitServer server_;
  testing::TestFolder scratch_;
  git::MirrorStore mirrors_ = *git::MirrorStore::Open(
      {.state_folder = scratch_ / "state", .git = {.rules = {.http = git::PlainHttp::kAllowed}}});
  layers::LayerStore layers_ = *layers::LayerStore::Open(scratch_ / "cache");
  Checkouts checkouts_{mirrors_, layers_};
  CheckoutOptions options_;
};

constexpr const char* kOddFiles = R"sh(
printf '*.txt text eol=crlf\n*.id ident\n*.u16 working-tree-encoding=UTF-16LE eol=lf\n*.lfs filter=lfs\nsecret export-ignore\nsub export-subst\n' > .gitattributes
printf 'a\nb\n' > a.txt; printf '$Id$\n' > x.id; echo secret > secret; printf '$Format:%%H$\n' > sub
printf 'h\0i\0\n\0' > w.u16; ln -s a.txt link; ln -s /nowhere dangling; mkdir -p d/e; echo 1 > d/e/f; chmod +x d/e/f
touch d/.wh.x empty; printf 'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n' > big.lfs
touch "$(printf 'new\nline')" 'sp ace' "$(printf 'caf\303\251')"; head -c 300000 /dev/urandom > random
)sh";

TEST_F(CheckoutTest, IsWhatGitChecksOut) {
  const std::string first = Commit(kOddFiles);
  const std::string commit = Commit("echo 2 >> d/e/f; git tag -am t v1; git branch other");
  const auto made = Make({});
  ASSERT_THAT(made, IsOk());
  ASSERT_THAT(made->layers, SizeIs(2));
  EXPECT_EQ(made->lfs_pointers, 1u);
  EXPECT_EQ(made->files, 16u);
  for (const CheckoutLayer& layer : made->layers) {
    EXPECT_TRUE(layer.made_now);
    const auto check = RunScript("e2fsck -fn " + layer.record.file().string());
    EXPECT_EQ(check.status, 0) << check.output;
  }
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  EXPECT_EQ(InGuest(*made, kList), Expected(commit));
  EXPECT_EQ(InGuest(*made, "git status --porcelain=v2 --branch"),
            "# branch.oid " + commit +
                "\n# branch.head main\n# branch.upstream origin/main\n# branch.ab +0 -0");
  EXPECT_EQ(InGuest(*made, "git fsck --full --strict"), "");
  EXPECT_EQ(InGuest(*made, "git log --format=%H; git describe --tags; git blame -s d/e/f | wc -l"),
            commit + "\n" + first + "\nv1-1-g" + commit.substr(0, 7) + "\n2");
  EXPECT_EQ(InGuest(*made, "git remote get-url origin; git branch -a --format='%(refname)'"),
            server_.Url("r.git") +
                "\nrefs/heads/main\nrefs/remotes/origin/HEAD\nrefs/remotes/origin/main\n"
                "refs/remotes/origin/other");
  // It can be worked in.
  EXPECT_THAT(InGuest(*made,
                      "git checkout -q -b mine; echo x > new; git rm -q secret; git add -A; git -c "
                      "user.name=a -c user.email=a@b commit -qm n; git gc -q; git fsck; git "
                      "status --porcelain; git fetch -q; git merge-base HEAD origin/main"),
              commit);
}

TEST_F(CheckoutTest, StatusReadsNoContent) {
  Commit(kOddFiles);
  const auto made = Make({});
  ASSERT_THAT(made, IsOk());
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  // An index that had to be refreshed would be written anew.
  EXPECT_EQ(InGuest(*made,
                    "GIT_TRACE2_PERF=$d/trace git update-index --refresh; cat $d/u/.git/index "
                    "2>/dev/null | wc -c; git diff-files"),
            "0");
  // Every field that git compares.
  EXPECT_EQ(InGuest(*made, R"sh(git ls-files -z | while IFS= read -r -d '' f; do
      set -- $(stat -c '%Y %Z %i %u %g %s' "$f")
      git ls-files --debug -- ":(literal)$f" | tr -d '\n' | tr '\t' ' ' > $d/line
      for want in "mtime: $1:0" "ctime: $2:0" "ino: $(( $3 & 0xffffffff ))" "uid: $4" "gid: $5" "size: $6"; do
        grep -qF "$want" $d/line || { echo "$f: no $want"; cat $d/line; }
      done; done)sh"),
            "");
}

TEST_F(CheckoutTest, TheSameAgainCostsNothingAndALaterCommitLittle) {
  const std::string first = Commit(kOddFiles);
  const auto made = Make({.branch = "main"});
  ASSERT_THAT(made, IsOk());
  const auto again = Make({.branch = "main"});
  ASSERT_THAT(again, IsOk());
  for (const CheckoutLayer& layer : again->layers) EXPECT_FALSE(layer.made_now);
  EXPECT_EQ(again->files, made->files);
  const std::string second = Commit("echo more > more; git branch side HEAD");
  const auto later = Make({});
  ASSERT_THAT(later, IsOk());
  EXPECT_TRUE(later->layers.front().made_now);
  EXPECT_FALSE(later->layers.back().made_now);
  EXPECT_EQ(later->layers.back().record.id, made->layers.back().record.id);
  // On no branch, another owner.
  options_.owner = {1000, 1001};
  const auto detached = Make({.commit = first});
  ASSERT_THAT(detached, IsOk());
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  EXPECT_EQ(InGuest(*later, "git rev-parse HEAD; git status --porcelain; git fsck --full"), second);
  EXPECT_EQ(InGuest(*detached,
                    "git rev-parse HEAD; git status --porcelain; git symbolic-ref -q HEAD || echo "
                    "detached; stat -c %u:%g a.txt .git/index; git fsck --full"),
            first + "\ndetached\n1000:1001\n1000:1001");
}

TEST_F(CheckoutTest, ANewGenerationWhenTooMuchIsNew) {
  Commit("echo 1 > f");
  const auto made = Make({});
  options_.least_pack_for_generation = 100'000;
  Commit("head -c 1000000 /dev/urandom > g");
  const auto later = Make({});
  ASSERT_THAT(later, IsOk());
  EXPECT_NE(later->layers.back().record.id, made->layers.back().record.id);
  Commit("echo 2 > f");
  const auto last = Make({});
  EXPECT_EQ(last->layers.back().record.id, later->layers.back().record.id);
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  EXPECT_EQ(InGuest(*last, "git fsck --full; git status --porcelain; ls .git/objects/pack | wc -l"),
            "4");
}

TEST_F(CheckoutTest, ADeltaHoldsWhatDiffers) {
  options_.least_files_for_delta = 10;
  Commit(
      std::string(kOddFiles) +
      "for i in $(seq 60); do mkdir -p many/$i; echo $i > many/$i/f; done; mkdir gone kind; echo 1 "
      "> gone/a; echo 1 > gone/b; echo 1 > kind/x; echo 1 > thing; ln -s thing swap");
  const auto base = Make({});
  ASSERT_THAT(base, IsOk());
  const std::string commit = Commit(
      "rm -r gone many/7 kind thing swap empty; echo new > many/8/f; chmod +x many/9/f; echo 1 > "
      "kind; "
      "mkdir thing; echo 1 > thing/y; echo 1 > swap; mkdir -p added/deep; echo 1 > added/deep/z; "
      "echo "
      "c >> a.txt; rm big.lfs");
  const auto delta = Make({});
  ASSERT_THAT(delta, IsOk());
  ASSERT_THAT(delta->layers, SizeIs(3));
  EXPECT_TRUE(delta->layers[0].made_now);
  EXPECT_FALSE(delta->layers[1].made_now);
  EXPECT_EQ(delta->layers[1].record.id, base->layers[0].record.id);
  EXPECT_EQ(delta->lfs_pointers, 0u);
  const auto again = Make({});
  ASSERT_THAT(again, IsOk());
  EXPECT_THAT(again->layers, SizeIs(3));
  EXPECT_FALSE(again->layers[0].made_now);
  // Over the whole one, never over a delta.
  const std::string third = Commit("echo 3 > many/10/f");
  const auto next = Make({});
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->layers[1].record.id, base->layers[0].record.id);
  // Attributes may change any file.
  const std::string fourth = Commit("echo '*.id -ident' >> .gitattributes");
  const auto whole = Make({});
  ASSERT_THAT(whole, IsOk());
  EXPECT_THAT(whole->layers, SizeIs(2));
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  for (const auto& [made, id] : {std::pair{&*delta, commit}, {&*next, third}, {&*whole, fourth}}) {
    EXPECT_EQ(InGuest(*made, kList), Expected(id));
    EXPECT_EQ(InGuest(*made,
                      "git status --porcelain; git fsck --full; git rev-parse HEAD; git "
                      "update-index --refresh; test ! -e $d/u/.git/index"),
              id);
  }
}

TEST_F(CheckoutTest, ADeltaWhoseBaseIsGoneIsMadeAgain) {
  options_.least_files_for_delta = 1;
  Commit("for i in $(seq 40); do echo $i > $i; done");
  const auto base = Make({});
  ASSERT_THAT(base, IsOk());
  Commit("echo x > 3");
  ASSERT_THAT(Make({})->layers, SizeIs(3));
  ASSERT_THAT(layers_.Remove(base->layers.front().record.id, {}, {}), IsOk());
  const auto again = Make({});
  ASSERT_THAT(again, IsOk());
  EXPECT_THAT(again->layers, SizeIs(2));
}

TEST_F(CheckoutTest, RepositoriesOfSha256AndWithoutFiles) {
  server_.Script(
      "git init -q --object-format=sha256 -b main w256; cd w256; echo 1 > f; git add f; "
      "git commit -qm 1; cd ..; git clone -q --bare w256 s.git");
  const auto made = Make({}, "s.git");
  ASSERT_THAT(made, IsOk());
  Commit(":");
  const auto empty = Make({});
  ASSERT_THAT(empty, IsOk());
  EXPECT_EQ(empty->files, 0u);
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  EXPECT_EQ(InGuest(*made, "git status --porcelain; git fsck --full; cat f"), "1");
  EXPECT_EQ(InGuest(*empty, "git status --porcelain; git fsck --full; ls -A"), ".git");
}

TEST_F(CheckoutTest, TimesBeyondWhatAnIndexHolds) {
  const std::string old = Commit("echo 1 > f", "GIT_COMMITTER_DATE='@0 +0000'");
  const auto early = Make({});
  ASSERT_THAT(early, IsOk());
  Commit("echo 2 > f", "GIT_COMMITTER_DATE='@99999999999 +0000'");
  const auto late = Make({});
  ASSERT_THAT(late, IsOk());
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  for (const CheckedOut* made : {&*early, &*late})
    EXPECT_EQ(InGuest(*made, "git status --porcelain; git diff-files"), "");
}

TEST_F(CheckoutTest, PathsThatGitProtectsAreRefused) {
  // Made past git's own checks.
  const auto hostile = [&](const std::string& entries) {
    return server_.Script(
        "cd r.git; b=$(echo evil | git hash-object -w --stdin); t=$(printf '100644 blob "
        "%s\\tconfig\\n' "
        "$b | git mktree); raw() { printf '%s %s\\0' $1 \"$2\"; printf '%s' $3 | xxd -r -p; }; "
        "id=$( { " +
        entries +
        "; } | git hash-object -w --stdin -t tree --literally); c=$(git commit-tree "
        "-m x $id); git update-ref refs/heads/evil $c; echo $c");
  };
  Commit("echo 1 > f");
  for (const char* entries :
       {"raw 40000 .git $t", "raw 40000 .GIT $t", "raw 40000 .. $t", "raw 40000 . $t",
        "raw 40000 git~1 $t", "raw 40000 $'.g\\u200cit' $t", "raw 120000 .git $b",
        "raw 160000 .git 1111111111111111111111111111111111111111", "raw 40000 '.git ' $t",
        "raw 100644 $(head -c 300 /dev/zero | tr '\\0' x) $b", "raw 100644 x $b; raw 100644 x $b",
        "raw 120000 x $b; raw 40000 x $t"}) {
    hostile(entries);
    const auto made = Make({.branch = "evil"});
    EXPECT_THAT(made, HasError(ErrorCode::kDataCorrupt)) << entries;
  }
  EXPECT_TRUE(fs::is_empty(scratch_ / "cache/tmp"));
  EXPECT_TRUE(fs::is_empty(scratch_ / "state/mirrors/tmp"));
}

TEST_F(CheckoutTest, LimitsOnFilesAndBytes) {
  Commit("for i in $(seq 30); do echo $i > $i; done; head -c 40000000 /dev/zero > bomb");
  options_.limits.max_files = 20;
  EXPECT_THAT(Make({}), HasError(ErrorCode::kResourceExhausted));
  options_.limits = {.max_bytes = 1'000'000};
  EXPECT_THAT(Make({}), HasError(ErrorCode::kResourceExhausted));
  EXPECT_TRUE(fs::is_empty(scratch_ / "cache/tmp"));
  options_.limits = {};
  EXPECT_THAT(Make({}), IsOk());
}

TEST_F(CheckoutTest, SubmodulesAreEmptyFoldersUnlessAskedFor) {
  Commit(
      "echo 1 > f; git update-index --add --cacheinfo "
      "160000,1111111111111111111111111111111111111111,"
      "mod; mkdir mod");
  const auto made = Make({});
  ASSERT_THAT(made, IsOk());
  options_.submodules = Submodules::kCheckedOut;
  EXPECT_THAT(Make({}), HasError(ErrorCode::kFailedPrecondition, HasSubstr("the submodule mod")));
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  EXPECT_EQ(InGuest(*made, "git status --porcelain; ls"), "f\nmod");
}

// A repository "lib" that has "deep" in it, both beside r.git; the ids of their commits.
constexpr const char* kSubmodules = R"sh(
mkdir sub; cd sub; {
git init -q -b main deep; (cd deep; echo deep > d; git add d; git commit -qm deep)
git clone -q --bare deep ../deep.git
git init -q -b main lib; cd lib
git -c protocol.file.allow=always submodule add --name in/ner ../../deep.git nested/deep
git config -f .gitmodules submodule.in/ner.url ../deep.git
printf '*.txt text eol=crlf\n' > .gitattributes; printf 'a\n' > l.txt; ln -s l.txt link; git add -A
git commit -qm lib; git tag v1; echo 2 > l2; git add l2; git commit -qm lib2
cd ..; git clone -q --bare lib ../lib.git; } >log 2>&1; git -C lib rev-parse HEAD)sh";

std::string AddModule(const std::string& path, const std::string& url, const std::string& commit) {
  return "git config -f .gitmodules submodule." + path + ".path " + path +
         "; git config -f .gitmodules submodule." + path + ".url " + url + "; mkdir -p " + path +
         "; git update-index --add --cacheinfo 160000," + commit + "," + path + "\n";
}

TEST_F(CheckoutTest, SubmodulesAreAsGitHasThem) {
  const std::string lib = server_.Script(kSubmodules);
  const std::string v1 = server_.Script("git -C sub/lib rev-parse v1");
  Commit("mkdir libs; echo 1 > libs/f; " + AddModule("libs/one", "../lib.git", lib) +
         AddModule("two", server_.Url("lib.git"), v1));
  options_.submodules = Submodules::kCheckedOut;
  const auto made = Make({});
  ASSERT_THAT(made, IsOk());
  ASSERT_THAT(made->layers, SizeIs(3));
  EXPECT_EQ(made->layers.front().record.id.kind, "submodules");
  EXPECT_EQ(made->files, 13u);
  const auto check = RunScript("e2fsck -fn " + made->layers.front().record.file().string());
  EXPECT_EQ(check.status, 0) << check.output;
  // The same submodules of a later commit are the same layer.
  Commit("echo 2 > libs/f");
  const auto later = Make({});
  ASSERT_THAT(later, IsOk());
  EXPECT_EQ(later->layers.front().record.id, made->layers.front().record.id);
  EXPECT_FALSE(later->layers.front().made_now);
  // Another commit of one of them is not, and who wants none has none.
  Commit("git update-index --cacheinfo 160000," + lib + ",two");
  const auto moved = Make({});
  ASSERT_THAT(moved, IsOk());
  EXPECT_NE(moved->layers.front().record.id, made->layers.front().record.id);
  options_.submodules = Submodules::kEmptyFolders;
  EXPECT_THAT(Make({})->layers, SizeIs(2));
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  const std::string clean = "git status --porcelain --untracked-files=all; ";
  EXPECT_EQ(
      InGuest(*made, clean + "git submodule status --recursive | cut -d'(' -f1"),
      server_.Script(
          "rm -rf expected; git clone -q " + server_.Url("r.git") +
          " expected; cd expected; "
          "git checkout -q main~2; git submodule --quiet update --init --recursive; git submodule "
          "status --recursive | cut -d'(' -f1"));
  EXPECT_EQ(
      InGuest(*made,
              "cat libs/one/l.txt libs/one/nested/deep/d libs/one/l2; cat two/l2 2>&1 || true; git "
              "-C two log "
              "--format=%s; git -C libs/one/nested/deep log --format=%s; git -C libs/one remote "
              "get-url origin; readlink two/link"),
      "a\r\ndeep\n2\ncat: two/l2: No such file or directory\nlib\ndeep\n" + server_.Url("lib.git") +
          "\nl.txt");
  for (const CheckedOut* each : {&*made, &*later, &*moved}) {
    EXPECT_EQ(
        InGuest(*each, clean + "git fsck --full; git submodule --quiet foreach --recursive "
                               "'git fsck --full; git status --porcelain; git diff-files; "
                               "git update-index --refresh'; git submodule sync -q --recursive; "
                               "find $d/u -name index"),
        "");
  }
  // They can be worked in.
  EXPECT_EQ(
      InGuest(*made,
              "cd two; git checkout -q main; cat l2; cd ..; git status --porcelain; git submodule "
              "--quiet update; git rm -q libs/one; git status --porcelain"),
      "2\n M two\nM  .gitmodules\nD  libs/one");
}

TEST_F(CheckoutTest, AFolderThatBecomesASubmoduleIsNotSeenThroughIt) {
  options_.least_files_for_delta = 10;
  const std::string lib = server_.Script(kSubmodules);
  Commit(
      "for i in $(seq 30); do echo $i > f$i; done; mkdir mod; echo old > mod/old; echo 1 > file");
  ASSERT_THAT(Make({}), IsOk());
  Commit("git rm -q -r mod file; " + AddModule("mod", "../lib.git", lib) +
         AddModule("file", "../lib.git", lib));
  const auto empty = Make({});
  ASSERT_THAT(empty, IsOk());
  EXPECT_THAT(empty->layers, SizeIs(3));
  options_.submodules = Submodules::kCheckedOut;
  const auto made = Make({});
  ASSERT_THAT(made, IsOk());
  EXPECT_THAT(made->layers, SizeIs(4));
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  EXPECT_EQ(InGuest(*empty, "ls mod file; git status --porcelain"), "file:\n\nmod:");
  EXPECT_EQ(InGuest(*made, "ls mod file; git status --porcelain; git submodule status | cut -c1"),
            "file:\nl.txt\nl2\nlink\nnested\n\nmod:\nl.txt\nl2\nlink\nnested\n \n ");
}

TEST_F(CheckoutTest, SubmodulesOfElsewhereAreRefusedByName) {
  const std::string lib = server_.Script(kSubmodules);
  options_.submodules = Submodules::kCheckedOut;
  struct Case {
    std::string url;
    ErrorCode code;
    std::string says;
  };
  for (const Case& one : std::initializer_list<Case>{
           {"https://other.example/lib", ErrorCode::kHostNotAllowed, "another host"},
           {"http://127.0.0.1:1/lib.git", ErrorCode::kHostNotAllowed, "another host"},
           {"ssh://git@127.0.0.1/lib.git", ErrorCode::kHostNotAllowed, "another host"},
           {"file:///etc", ErrorCode::kInvalidArgument, "file"},
           {"/srv/lib.git", ErrorCode::kInvalidArgument, "path on this machine"},
           {"'ext::sh -c id'", ErrorCode::kInvalidArgument, "URL"},
           {"ext::sh", ErrorCode::kInvalidArgument, "ext::"},
           {"git://127.0.0.1/lib.git", ErrorCode::kInvalidArgument, "git://"},
           {"--upload-pack=x", ErrorCode::kInvalidArgument, "'-'"},
           {"../../../lib.git", ErrorCode::kInvalidArgument, "leads out of"},
           {"../none.git", ErrorCode::kNotFound, "none.git"}}) {
    Commit("rm -f .gitmodules; " + AddModule("some/sub", one.url, lib));
    const auto made = Make({});
    ASSERT_THAT(made, HasError(one.code)) << one.url;
    EXPECT_THAT(made.error().ToString(),
                AllOf(HasSubstr("the submodule some/sub"), HasSubstr(one.says)));
  }
  const std::string nowhere(40, '1');
  Commit("rm -f .gitmodules; " + AddModule("some/sub", "../lib.git", nowhere));
  EXPECT_THAT(Make({}),
              HasError(ErrorCode::kNotFound,
                       AllOf(HasSubstr("the submodule some/sub is at"), HasSubstr(nowhere))));
  EXPECT_TRUE(fs::is_empty(scratch_ / "cache/tmp"));
}

TEST_F(CheckoutTest, AHostileModulesFileIsRefused) {
  const std::string lib = server_.Script(kSubmodules);
  options_.submodules = Submodules::kCheckedOut;
  const std::string good = AddModule("sub", "../lib.git", lib);
  for (const char* script :
       {"git config -f .gitmodules submodule.sub.path ../out",
        "git config -f .gitmodules submodule.sub.path .git",
        "git config -f .gitmodules submodule.sub.path -x",
        "git config -f .gitmodules --add submodule.sub.path y",
        "git config -f .gitmodules --rename-section submodule.sub submodule.../../x",
        "git config -f .gitmodules --rename-section submodule.sub submodule.-x",
        "mv .gitmodules real; ln -s real .gitmodules", "echo '[broken' > .gitmodules"}) {
    Commit("rm -rf .gitmodules real; " + good + script);
    EXPECT_THAT(Make({}), HasError(ErrorCode::kDataCorrupt)) << script;
  }
  Commit("rm -rf .gitmodules real; " + good +
         "head -c 300000 /dev/zero | tr '\\0' '#' >> .gitmodules");
  EXPECT_THAT(Make({}), HasError(ErrorCode::kResourceExhausted));
  // A chain of repositories, each with the last one in it.
  std::string last = server_.Script("git -C sub/deep rev-parse HEAD"), name = "../deep.git";
  for (int i = 0; i < kMaxSubmoduleDepth; ++i) {
    const std::string id = std::to_string(i);
    last = server_.Script("git init -q -b main chain" + id + "; cd chain" + id + "; " +
                          AddModule("in", name, last) +
                          "git add .gitmodules; git commit -qm x; git clone -q --bare . ../chain" +
                          id + ".git; git rev-parse HEAD");
    name = "../chain" + id + ".git";
  }
  Commit("rm -rf .gitmodules; git rm -q --cached sub; " + AddModule("in", name, last));
  EXPECT_THAT(Make({}), HasError(ErrorCode::kResourceExhausted, HasSubstr("deeper than 5 levels")));
}

TEST_F(CheckoutTest, CommitsOfABundleGoIntoThatLayerAlone) {
  Commit("echo 1 > f");
  const auto resolved = Resolve({});
  ASSERT_THAT(resolved, IsOk());
  const std::string commit = server_.Script(
      "cd work; git update-ref refs/heads/origin HEAD; echo 2 > f; git commit -qam local; git "
      "bundle "
      "create -q ../bundle origin..main; git rev-parse HEAD");
  const std::string bytes = *os::ReadFile(server_ / "bundle", 1 << 20);
  const auto bundle = VerifyBundle(git::Mirror(mirrors_.git(), resolved->mirror),
                                   {.format = std::string(kBundleFormat),
                                    .target = commit,
                                    .digest = Sha256Hex(bytes),
                                    .bytes = bytes},
                                   {});
  ASSERT_THAT(bundle, IsOk());
  options_.origin = server_.Url("r.git");
  options_.bundle = &*bundle;
  const auto made = checkouts_.Make(*resolved, options_, {});
  ASSERT_THAT(made, IsOk());
  EXPECT_THAT(git::Mirror(mirrors_.git(), resolved->mirror).FindCommit(commit, {}),
              IsOkAnd(std::optional<std::string>()));
  options_.bundle = nullptr;
  const auto plain = checkouts_.Make(*resolved, options_, {});
  ASSERT_THAT(plain, IsOk());
  EXPECT_NE(plain->layers.front().record.id, made->layers.front().record.id);
  EXPECT_EQ(plain->layers.back().record.id, made->layers.back().record.id);
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  EXPECT_EQ(InGuest(*made, "git rev-parse HEAD; git fsck --full; git status --porcelain -b"),
            commit + "\n## main...origin/main [ahead 1]");
}

// Commits of this project's own history, or of the repository that CLEANROOM_TEST_REPOSITORY names,
// in random order: each is the tree that `git archive` has, clean to a git that reads every file,
// and complete. CLEANROOM_TEST_COMMITS says how many; CLEANROOM_TEST_SEED repeats an order.
TEST_F(CheckoutTest, RandomCommitsOfARealHistory) {
  const auto variable = [](const char* name, std::string otherwise) {
    const char* value = std::getenv(name);
    return value != nullptr ? std::string(value) : std::move(otherwise);
  };
  const std::string source = variable("CLEANROOM_TEST_REPOSITORY", CLEANROOM_SOURCE);
  const std::string git = "git -c safe.directory='*' -C " + source + " ";
  const auto shallow = RunScript(git + "rev-parse --is-shallow-repository");
  if (shallow.status != 0) GTEST_SKIP() << source << " is no git repository";
  if (shallow.output != "false\n") GTEST_SKIP() << source << " is a shallow clone: no history";
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  std::vector<std::string> commits;
  std::istringstream list(RunScript(git + "rev-list HEAD").output);
  for (std::string line; std::getline(list, line);) commits.push_back(line);
  const std::string seed = variable("CLEANROOM_TEST_SEED", std::to_string(std::random_device{}()));
  printf("CLEANROOM_TEST_SEED=%s, %zu commits to choose from\n", seed.c_str(), commits.size());
  std::shuffle(commits.begin(), commits.end(), std::mt19937(std::stoul(seed)));
  commits.resize(std::min(commits.size(), std::stoul(variable("CLEANROOM_TEST_COMMITS", "8"))));

  const auto mirrors = git::MirrorStore::Open(
      {.state_folder = scratch_ / "own", .git = {.rules = {.paths = git::LocalPaths::kAllowed}}});
  options_.least_files_for_delta = 50;
  options_.origin = "https://example.com/own";
  const Checkouts checkouts(*mirrors, layers_);
  for (const std::string& commit : commits) {
    const auto url = mirrors->ParseUrl(source);
    ASSERT_THAT(url, IsOk());
    const auto resolved = mirrors->EnsureCommit(*url, {.commit = commit}, {});
    ASSERT_THAT(resolved, IsOk());
    const auto began = std::chrono::steady_clock::now();
    const auto made = checkouts.Make(*resolved, options_, {});
    ASSERT_THAT(made, IsOk());
    const auto took = std::chrono::steady_clock::now() - began;
    printf("%s: %zu layers, %lu files, %lu bytes, %.2f s\n", commit.substr(0, 12).c_str(),
           made->layers.size(), made->files, made->bytes,
           std::chrono::duration<double>(took).count());
    const std::string names =
        "find . -path ./.git -prune -o -printf '%P %y %m %l\\n' | grep -v '^ d' | LC_ALL=C sort "
        ">$d/";
    EXPECT_EQ(InGuest(*made, names + "ours; mkdir $d/archive; " + git +
                                 "-c tar.umask=022 archive " + commit +
                                 " | tar x -p -C $d/archive; diff -r --no-dereference -x .git . "
                                 "$d/archive; cd $d/archive; " +
                                 names +
                                 "theirs; test -s $d/theirs; diff $d/ours $d/theirs; cd $d/m; "
                                 "git rev-parse HEAD; git status --porcelain; "
                                 "git fsck --no-dangling --no-progress; "
                                 "export GIT_INDEX_FILE=$d/fresh; git read-tree HEAD; "
                                 "git status --porcelain --ignored"),
              commit);
  }
}

}  // namespace
}  // namespace cleanroom::repository
