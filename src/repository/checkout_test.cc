#include "repository/checkout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/sha256/sha256.h"
#include "base/testing/result_matchers.h"
#include "tests/support/file_tree.h"
#include "tests/support/git_server.h"

namespace cleanroom::repository {
namespace {

namespace fs = std::filesystem;
using testing::GitServer;
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

TEST_F(CheckoutTest, SubmodulesAreEmptyFoldersOrRefused) {
  Commit(
      "echo 1 > f; git update-index --add --cacheinfo "
      "160000,1111111111111111111111111111111111111111,"
      "mod; mkdir mod");
  const auto made = Make({});
  ASSERT_THAT(made, IsOk());
  options_.submodules = Submodules::kCheckedOut;
  EXPECT_THAT(Make({}), HasError(ErrorCode::kUnimplemented));
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  EXPECT_EQ(InGuest(*made, "git status --porcelain; ls"), "f\nmod");
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

// Commits of this project's own history, or of the repository that CLEANROOM_TEST_REPOSITORY names:
// each is clean to a git that reads every file.
TEST_F(CheckoutTest, RandomCommitsOfARealHistory) {
  const char* named = std::getenv("CLEANROOM_TEST_REPOSITORY");
  const std::string source = named != nullptr ? named : CLEANROOM_SOURCE;
  const char* wanted = std::getenv("CLEANROOM_TEST_COMMITS");
  const auto list = RunScript("git -C " + source + " rev-list HEAD | shuf -n " +
                              (wanted != nullptr ? wanted : "8"));
  if (list.status != 0) GTEST_SKIP() << source << " is no git repository";
  if (!CanMount()) GTEST_SKIP() << "mounting layers needs root and loop devices";
  const auto mirrors = git::MirrorStore::Open(
      {.state_folder = scratch_ / "own", .git = {.rules = {.paths = git::LocalPaths::kAllowed}}});
  options_.least_files_for_delta = 50;
  options_.origin = "https://example.com/own";
  const Checkouts checkouts(*mirrors, layers_);
  std::istringstream commits(list.output);
  for (std::string commit; std::getline(commits, commit);) {
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
    EXPECT_EQ(
        InGuest(*made,
                "git rev-parse HEAD; git status --porcelain; export GIT_INDEX_FILE=$d/fresh; git "
                "read-tree HEAD; git status --porcelain --ignored"),
        commit);
  }
}

}  // namespace
}  // namespace cleanroom::repository
