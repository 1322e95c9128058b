#include "git/mirror_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/testing/result_matchers.h"
#include "git/transfer_error.h"
#include "tests/support/git_server.h"

namespace cleanroom::git {
namespace {

namespace fs = std::filesystem;
using ::testing::Eq;
using testing::GitServer;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Optional;
using ::testing::SizeIs;

constexpr const char* kMakeRepository = R"(
git init -q -b main work
cd work
mkdir sub
echo 'version: 1' > cleanroom.yaml; ln -s ../cleanroom.yaml sub/link; ln -s link sub/link2
ln -s /etc/passwd absolute; ln -s ../../etc/passwd outside; head -c 100000 /dev/urandom > big
git add -A; git commit -qm one
git tag -a -m tagged v1
git checkout -q -b topic; echo topic > topic; git add -A; git commit -qm topic; git checkout -q main
cd ..; git clone -q --mirror work r.git
)";

class MirrorStoreTest : public ::testing::Test {
 protected:
  MirrorStoreTest() { server_.Script(kMakeRepository); }

  MirrorStore Open(GitConfig config = {}, RemoteLimits limits = {}) {
    config.rules.http = PlainHttp::kAllowed;
    return *MirrorStore::Open(
        {.state_folder = state_.path(), .git = std::move(config), .limits = limits});
  }
  Result<Resolved> Ensure(const Wish& wish) { return Ensure(store_, wish); }
  Result<Resolved> Ensure(const MirrorStore& store, const Wish& wish) {
    CR_TRY_ASSIGN(const RemoteUrl url, store.ParseUrl(server_.Url("r.git")));
    return store.EnsureCommit(url, wish, {});
  }
  // A new commit on `branch` of the server's repository; its id.
  std::string Commit(const std::string& branch, const std::string& content = "x") {
    return server_.Script("cd work; git checkout -q " + branch + "; echo " + content +
                          " >> more; git add -A; git commit -qm more; git push -q ../r.git " +
                          branch + "; git rev-parse HEAD");
  }
  std::string Id(const std::string& revision) {
    return server_.Script("git -C r.git rev-parse " + revision);
  }

  GitServer server_;
  testing::TestFolder state_;
  MirrorStore store_ = Open();
};

TEST_F(MirrorStoreTest, NothingWishedIsTheNewestOfTheDefaultBranch) {
  const auto resolved = Ensure({});
  ASSERT_THAT(resolved, IsOk());
  EXPECT_EQ(resolved->commit, Id("main"));
  EXPECT_EQ(resolved->branch, "main");
  EXPECT_EQ(resolved->default_branch, "main");
  EXPECT_EQ(resolved->object_format, "sha1");
  EXPECT_TRUE(resolved->fetched);
  const std::string newer = Commit("main");
  EXPECT_EQ(Ensure({.revision = "latest"})->commit, newer);
  const int packs = server_.Requests("git-upload-pack HTTP") + server_.Requests("POST");
  EXPECT_FALSE(Ensure({})->fetched);
  EXPECT_EQ(server_.Requests("POST"), packs + 1);  // ls-remote and no fetch
}

TEST_F(MirrorStoreTest, AFullIdThatIsHereNeedsNoNetwork) {
  const std::string id = Id("main");
  ASSERT_THAT(Ensure({.commit = id}), IsOk());
  const int before = server_.Requests();
  const auto again = Ensure({.commit = id, .branch = "main"});
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->branch, "main");
  EXPECT_FALSE(again->fetched);
  EXPECT_EQ(server_.Requests(), before);
}

TEST_F(MirrorStoreTest, NamesAreLookedUpAtTheRemote) {
  EXPECT_EQ(Ensure({.branch = "topic"})->commit, Id("topic"));
  EXPECT_EQ(Ensure({.revision = "topic"})->branch, "topic");
  const auto tag = Ensure({.revision = "v1"});
  ASSERT_THAT(tag, IsOk());
  EXPECT_EQ(tag->commit, Id("v1^{commit}"));
  EXPECT_THAT(tag->branch, IsEmpty());
  EXPECT_EQ(Ensure({.revision = "refs/tags/v1"})->commit, Id("main"));
  EXPECT_EQ(Ensure({.revision = Id("topic").substr(0, 10)})->commit, Id("topic"));
  EXPECT_EQ(Ensure({.commit = Id("topic").substr(0, 10)})->commit, Id("topic"));
  const std::string newer = Commit("topic");
  EXPECT_EQ(Ensure({.branch = "topic"})->commit, newer);
  server_.Script("git -C r.git branch -D -q topic");
  EXPECT_THAT(Ensure({.branch = "topic"}), HasError(ErrorCode::kNotFound));
  server_.Script("git -C r.git symbolic-ref HEAD refs/heads/other; git -C r.git branch other main");
  EXPECT_EQ(Ensure({})->branch, "other");
}

TEST_F(MirrorStoreTest, WhatIsNotThereIsSaidWithItsRemedy) {
  const std::vector<std::pair<Wish, std::string>> cases = {
      {{.commit = std::string(40, 'a')}, "--copy-in"},
      {{.commit = "abcdef0"}, "Check the id"},
      {{.revision = "nope"}, "git ls-remote http"},
      {{.branch = "nope"}, "git ls-remote http"}};
  for (const auto& [wish, remedy] : cases) {
    const auto resolved = Ensure(wish);
    ASSERT_THAT(resolved, HasError(ErrorCode::kNotFound));
    EXPECT_THAT(resolved.error().remedy(), HasSubstr(remedy));
  }
  const auto url = store_.ParseUrl(server_.Url("other.git"));
  EXPECT_THAT(store_.EnsureCommit(*url, {}, {}), HasError(ErrorCode::kNotFound));
}

TEST_F(MirrorStoreTest, MalformedWishesAreRefused) {
  for (const Wish& wish :
       {Wish{.commit = "--help"}, Wish{.revision = "--upload-pack=x"}, Wish{.branch = "-b"},
        Wish{.branch = "a..b"}, Wish{.revision = "main~1"}, Wish{.revision = "refs/../x"},
        Wish{.commit = "xyz"}, Wish{.branch = "a b"}, Wish{.revision = "a:b"},
        Wish{.commit = std::string(40, 'a'), .revision = "main"}})
    EXPECT_THAT(Ensure(wish), HasError(ErrorCode::kInvalidArgument))
        << wish.commit << wish.revision << wish.branch;
}

TEST_F(MirrorStoreTest, ACommitOnNoBranchIsFetchedById) {
  ASSERT_THAT(Ensure({}), IsOk());
  const std::string hidden = server_.Script(
      "id=$(git -C r.git commit-tree -m hidden main^{tree}); git -C r.git update-ref "
      "refs/pull/1/head $id; echo $id");
  const auto resolved = Ensure({.commit = hidden});
  ASSERT_THAT(resolved, IsOk());
  EXPECT_EQ(resolved->commit, hidden);
  EXPECT_TRUE(fs::exists(resolved->mirror / "refs/cleanroom" / hidden));
}

TEST_F(MirrorStoreTest, ManyWishesAreOneFetch) {
  ASSERT_THAT(Ensure({}), IsOk());
  const std::string newer = Commit("main");
  const int before = server_.Requests("POST");
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 6; ++i) {
      threads.emplace_back([&] { EXPECT_THAT(Ensure({.commit = newer}), IsOk()); });
    }
  }
  // One asks for HEAD and fetches: two listings and one pack.
  EXPECT_LE(server_.Requests("POST") - before, 3);
}

TEST_F(MirrorStoreTest, ACutConnectionIsTriedAgainOnce) {
  server_.Script("echo 1 > cut");
  EXPECT_THAT(Ensure({}), IsOk());
  Commit("main", "$(head -c 100000 /dev/urandom | base64 -w0)");
  server_.Script("echo 2 > cut");
  const auto cut = Ensure({});
  ASSERT_THAT(cut, HasError(ErrorCode::kUnavailable));
  server_.Script("rm cut");
  EXPECT_THAT(Ensure({}), IsOk());
}

TEST_F(MirrorStoreTest, ASlowRemoteIsGivenUp) {
  server_.Script("touch slow");
  const MirrorStore store = Open({.low_speed_time = std::chrono::seconds(1)});
  const auto slow = Ensure(store, {});
  ASSERT_THAT(slow, HasError(ErrorCode::kUnavailable));
  EXPECT_THAT(slow.error().message(), HasSubstr("next to nothing"));
  EXPECT_TRUE(fs::is_empty(state_ / "mirrors/tmp"));
}

TEST_F(MirrorStoreTest, AMirrorHasALimit) {
  const MirrorStore store = Open({}, {.max_mirror_bytes = 50'000});
  EXPECT_THAT(Ensure(store, {}), HasError(ErrorCode::kResourceExhausted));
  EXPECT_TRUE(fs::is_empty(state_ / "mirrors/tmp"));
  EXPECT_THAT(store.List(), IsEmpty());
}

TEST_F(MirrorStoreTest, CredentialsComeFromTheUsersHelperAndNobodyIsAsked) {
  GitServer closed({"--user", "me:s3cret"});
  closed.Script(kMakeRepository);
  const auto url = store_.ParseUrl(closed.Url("r.git"));
  const auto refused = store_.EnsureCommit(*url, {}, {});
  ASSERT_THAT(refused, HasError(ErrorCode::kUnauthenticated));
  EXPECT_THAT(refused.error().remedy(), HasSubstr("credential helper for 127.0.0.1"));
  const MirrorStore store =
      Open({.config = {"credential.helper=",
                       "credential.helper=!printf 'username=me\\npassword=s3cret\\n';:"}});
  EXPECT_THAT(store.EnsureCommit(*url, {}, {}), IsOk());
}

TEST_F(MirrorStoreTest, RedirectsDoNotLeadToOtherProtocols) {
  server_.Script("echo file:///tmp > redirect");
  EXPECT_THAT(Ensure({}), HasError(ErrorCode::kUpstreamError));
}

TEST_F(MirrorStoreTest, RedirectsOnTheSameHostAreFollowed) {
  server_.Script("ln -s . moved; echo " + server_.Url("moved") + " > redirect");
  EXPECT_EQ(Ensure({})->commit, Id("main"));
  server_.Script("echo /moved > redirect");
  EXPECT_EQ(Ensure({.commit = Commit("main")})->branch, "");
  server_.Script("echo /elsewhere > redirect");  // round and round
  EXPECT_THAT(Ensure({}), HasError(ErrorCode::kUpstreamError));
}

// To another host git would go with that host's credentials.
TEST_F(MirrorStoreTest, RedirectsToOtherHostsAreRefused) {
  GitServer other;
  other.Script(kMakeRepository);
  for (const std::string& target : {"http://" + other.host(), "//" + other.host()}) {
    server_.Script("echo " + target + " > redirect");
    const auto led = Ensure({});
    ASSERT_THAT(led, HasError(ErrorCode::kUpstreamError)) << target;
    EXPECT_THAT(led.error().message(), HasSubstr("127.0.0.1 leads elsewhere"));
    EXPECT_EQ(other.Requests(), 0) << target;
  }
  server_.Script("echo http://" + other.host() + " > redirect");
  const auto led = Ensure({});
  EXPECT_THAT(led.error().message(), HasSubstr("(to " + other.Url("r.git") + ")"));
  EXPECT_THAT(led.error().remedy(), HasSubstr("Name the repository by the URL"));
  EXPECT_EQ(other.Requests(), 0);
}

TEST_F(MirrorStoreTest, DataWithoutEndOrSenseIsGivenUp) {
  server_.Script("touch flood");
  const MirrorStore store = Open({}, {.max_mirror_bytes = 1'000'000});
  const auto flooded = Ensure(store, {});
  EXPECT_FALSE(flooded);
  EXPECT_TRUE(fs::is_empty(state_ / "mirrors/tmp"));
  server_.Script("rm flood");
  EXPECT_THAT(Ensure(store, {}), IsOk());
}

// A server that gives another commit than it was asked for, or a pack that lacks objects.
TEST_F(MirrorStoreTest, WhatAServerLiesAboutIsNotTaken) {
  ASSERT_THAT(Ensure({}), IsOk());
  const std::string known = Id("main");
  // The refs name a commit whose tree is not there.
  const std::string hollow = server_.Script(
      "cd r.git; tree=$(git mktree </dev/null); printf 'tree %s\\nauthor a <a@b> 1 +0000\\n"
      "committer a <a@b> 1 +0000\\n\\nhollow\\n' ${tree//[0-9]/a} | git hash-object -t commit -w "
      "--stdin --literally | tee refs/heads/hollow");
  const auto lied = Ensure({.branch = "hollow"});
  EXPECT_FALSE(lied);
  EXPECT_FALSE(Ensure({.commit = hollow}));
  EXPECT_THAT(Ensure({.commit = known}), IsOk());
}

TEST_F(MirrorStoreTest, ACommitThatWasPushedAwayIsKeptOnceItWasSeen) {
  const std::string gone = Commit("main");
  ASSERT_THAT(Ensure({.commit = gone}), IsOk());
  server_.Script(
      "git -C r.git update-ref refs/heads/main main~1; git -C r.git reflog expire "
      "--expire=now --all; git -C r.git gc -q --prune=now");
  EXPECT_THAT(Ensure({.commit = gone}), IsOk());
  EXPECT_EQ(Ensure({})->commit, Id("main"));
  EXPECT_THAT(Ensure({.commit = gone}), IsOk());
  // One that was never seen is told as missing.
  const std::string never = server_.Script(
      "cd work; git checkout -q main; git commit -q --allow-empty -m never; git rev-parse HEAD");
  const auto missing = Ensure({.commit = never});
  ASSERT_THAT(missing, HasError(ErrorCode::kNotFound));
  EXPECT_THAT(missing.error().message(), HasSubstr(never));
}

TEST_F(MirrorStoreTest, AnUntrustedCertificateIsRefused) {
  testing::RunScript("cd " + state_.path() +
                     "; openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 2 "
                     "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1");
  GitServer tls({"--tls", state_ / "cert", state_ / "key"});
  tls.Script(kMakeRepository);
  const std::string text = "https://" + tls.host() + "/r.git";
  const auto url = store_.ParseUrl(text);
  const auto refused = store_.EnsureCommit(*url, {}, {});
  ASSERT_THAT(refused, HasError(ErrorCode::kFailedPrecondition));
  EXPECT_THAT(refused.error().remedy(), HasSubstr("certification authority"));
  const MirrorStore store = Open({.environment = {"GIT_SSL_CAINFO=" + (state_ / "cert")}});
  EXPECT_THAT(store.EnsureCommit(*url, {}, {}), IsOk());
}

TEST_F(MirrorStoreTest, NobodyThereIsUnreachable) {
  const auto url = store_.ParseUrl("http://127.0.0.1:1/x");
  const auto none = store_.EnsureCommit(*url, {}, {});
  EXPECT_THAT(none, HasError(ErrorCode::kUnavailable)) << none.error().ToString();
}

TEST_F(MirrorStoreTest, RepositoriesOfSha256) {
  server_.Script(
      "git init -q --object-format=sha256 -b main w256; cd w256; echo 1 > f; git add f; "
      "git commit -qm 1; cd ..; git clone -q --bare w256 s.git");
  const auto resolved = store_.EnsureCommit(*store_.ParseUrl(server_.Url("s.git")), {}, {});
  ASSERT_THAT(resolved, IsOk()) << resolved.error().ToString();
  EXPECT_EQ(resolved->object_format, "sha256");
  EXPECT_THAT(resolved->commit, SizeIs(64));
}

TEST_F(MirrorStoreTest, AnEmptyRepositoryHasNoCommits) {
  server_.Script("git init -q --bare e.git");
  const auto empty = store_.EnsureCommit(*store_.ParseUrl(server_.Url("e.git")), {}, {});
  EXPECT_THAT(empty, HasError(ErrorCode::kNotFound)) << empty.error().ToString();
}

TEST_F(MirrorStoreTest, ReadsAFileOfACommit) {
  const auto resolved = Ensure({});
  const Mirror mirror(store_.git(), resolved->mirror);
  const auto read = [&](const std::string& path, size_t max = 1000) {
    return mirror.ReadFile(resolved->commit, path, max, {});
  };
  EXPECT_THAT(read("cleanroom.yaml"), IsOkAnd(Optional(Eq("version: 1\n"))));
  EXPECT_THAT(read("sub/link"), IsOkAnd(Optional(Eq("version: 1\n"))));
  EXPECT_THAT(read(".buildkite/cleanroom.yaml"), IsOkAnd(Eq(std::nullopt)));
  EXPECT_THAT(read("sub"), IsOkAnd(Eq(std::nullopt)));
  for (const char* path : {"sub/link2", "absolute", "outside"})
    EXPECT_THAT(read(path), HasError(ErrorCode::kFailedPrecondition)) << path;
  EXPECT_THAT(read("big"), HasError(ErrorCode::kResourceExhausted));
}

TEST_F(MirrorStoreTest, ListsRemovesAndCleans) {
  auto resolved = Ensure({});
  ASSERT_THAT(resolved, IsOk());
  const auto listed = store_.List();
  ASSERT_THAT(listed, SizeIs(1));
  EXPECT_THAT(listed.front().url, HasSubstr(server_.host()));
  EXPECT_GT(listed.front().bytes, 100'000u);
  EXPECT_THAT(store_.Remove(listed.front().url, {}), HasError(ErrorCode::kFailedPrecondition));
  for (int i = 0; i < 21; ++i) {
    Commit("main");
    ASSERT_THAT(Ensure({}), IsOk());
  }
  EXPECT_THAT(store_.Clean(listed.front().url, {}), IsOkAnd(false));  // in use
  resolved->use.reset();
  EXPECT_THAT(store_.Clean(listed.front().url, {}), IsOkAnd(true));
  EXPECT_THAT(store_.Clean(listed.front().url, {}), IsOkAnd(false));
  EXPECT_THAT(store_.Remove(listed.front().url, {}), IsOk());
  EXPECT_THAT(store_.Remove(listed.front().url, {}), HasError(ErrorCode::kNotFound));
  EXPECT_THAT(store_.List(), IsEmpty());
}

TEST_F(MirrorStoreTest, ManyRefsAndOddNames) {
  server_.Script(
      "cd r.git; id=$(git rev-parse main); for i in $(seq 10000); do echo \"create refs/heads/n/$i "
      "$id\"; done | git update-ref --stdin; git update-ref refs/heads/--upload-pack=x $id; "
      "git update-ref 'refs/heads/$(id)' $id");
  const auto resolved = Ensure({});
  ASSERT_THAT(resolved, IsOk()) << resolved.error().ToString();
  EXPECT_THAT(Ensure({.revision = "refs/heads/--upload-pack=x"}), IsOk());
  EXPECT_THAT(Ensure({.revision = "n/9999"}), IsOk());
  EXPECT_THAT(Ensure({.revision = "$(id)"}), IsOk());
  const auto refs = Mirror(store_.git(), resolved->mirror).Refs({});
  EXPECT_THAT(refs, IsOkAnd(SizeIs(10005)));
}

TEST(TransferError, KnowsWhatGitSays) {
  const auto of = [](std::string_view text) { return ClassifyTransfer(text); };
  EXPECT_EQ(of("git@h: Permission denied (publickey)."), TransferTrouble::kAuthentication);
  EXPECT_EQ(of("Host key verification failed.\nfatal: Could not read from remote repository."),
            TransferTrouble::kCertificate);
  EXPECT_EQ(of("ssh: Could not resolve hostname h: Name or service not known"),
            TransferTrouble::kUnreachable);
  EXPECT_EQ(of("error: RPC failed; curl 28 Operation too slow. Less than 1000 bytes/sec"),
            TransferTrouble::kSlow);
  EXPECT_EQ(of("fatal: remote error: upload-pack: not our ref abc"),
            TransferTrouble::kNoSuchObject);
  EXPECT_EQ(of("something new"), TransferTrouble::kOther);
}

}  // namespace
}  // namespace cleanroom::git
