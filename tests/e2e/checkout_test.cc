// Repositories in real sandboxes, fetched from a real git server over HTTP.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "support/command.h"
#include "support/daemon.h"
#include "support/git_server.h"
#include "support/program.h"

namespace cleanroom::test {
namespace {

using cleanroom::testing::GitServer;
using cleanroom::testing::RunScript;
using cleanroom::testing::TestFolder;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Two commits with a tag on the first, a branch beside them, and what only a sandbox with all of git
// in it can show.
constexpr const char* kRepository = R"(
git init -q -b main w && cd w
mkdir -p d/e && echo one >a && echo deep >d/e/f && echo gone >old && chmod +x a && ln -s a link
git add . && git commit -q -m one && git tag -a -m first v1
echo two >>a && git commit -q -a -m two
git checkout -q -b side v1 && echo side >s && git add s && git commit -q -m side
git checkout -q main && cd .. && git clone -q --bare w r.git
git -C w remote add origin "$(pwd)/r.git")";

constexpr const char* kLayers = "\"$CLEANROOM_TEST_CACHE\"/cleanroom/layers";

class CheckoutTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = new GitServer();
    server_->Script(kRepository);
    daemon_ = new Daemon("gateway: { git: { http_hosts: [localhost] } }\n");
    image_ = BaseImage(*daemon_);
  }
  static void TearDownTestSuite() {
    RemoveLayers();
    delete daemon_;
    delete server_;
  }

  static std::string Host(const GitServer& server = *server_) { return server.named_host(); }
  static std::string Url(const std::string& name, const GitServer& server = *server_) {
    return "http://" + Host(server) + "/" + name;
  }
  static std::string Id(const std::string& revision) {
    return server_->Script("git -C w rev-parse " + revision + "^{commit}");
  }
  // In a new sandbox of the image; in the folder `cwd` of this machine.
  static Outcome Exec(std::vector<std::string> flags, const std::string& script,
                      const std::string& cwd = "") {
    std::vector<std::string> args = {"exec", "-n", "--rm"};
    args.insert(args.end(), flags.begin(), flags.end());
    args.insert(args.end(), {"--", "sh", "-c", script});
    return daemon_->Cli(args, "", std::chrono::seconds(120), cwd);
  }
  static Outcome ExecUrl(const std::string& script, std::vector<std::string> flags = {},
                         const std::string& name = "r.git") {
    flags.insert(flags.end(), {"--repo-url", Url(name), "--image", image_});
    return Exec(flags, script);
  }
  // A work tree whose origin is the server's.
  static std::string Clone(const TestFolder& folder, const std::string& name = "r.git") {
    const auto cloned = RunScript("git clone -q " + Url(name) + " " + (folder / "clone"));
    EXPECT_EQ(cloned.status, 0) << cloned.output;
    return folder / "clone";
  }
  static std::string In(const std::string& folder, const std::string& script) {
    return RunScript("cd " + folder + "; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b " +
                     "GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; " + script)
        .output;
  }
  static std::string Policy(const std::string& more) {
    return "version: 1\nsandbox: { image: { ref: \"" + image_ + "\" } }\n" + more;
  }
  static void Write(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
  }
  // Those that are there because of this test; the cache is other tests' as well.
  static void RemoveLayers() {
    RunScript("for mirror in " + daemon_->state_dir() + "/mirrors/*.git; do grep -rlF " +
              "--include=layer.json -e $(basename $mirror .git) " + kLayers +
              "; done | xargs -r dirname | xargs -r rm -rf");
  }

  static inline GitServer* server_ = nullptr;
  static inline Daemon* daemon_ = nullptr;
  static inline std::string image_;
};

TEST_F(CheckoutTest, HeadIsThereWithAllOfGit) {
  const Outcome run = ExecUrl(
      "pwd; echo $CLEANROOM_COMMIT; git status --porcelain; git rev-parse HEAD; "
      "git symbolic-ref --short HEAD; git log --format=%s; git blame -s a | wc -l; git describe; "
      "git remote get-url origin; git fsck --strict 2>&1 | grep -v ^dangling; cat a d/e/f link; "
      "stat -c %a a; git rev-parse origin/side; git branch -vv | grep -c 'origin/main'");
  EXPECT_EQ(run.code, 0) << run.err;
  const std::string id = Id("main");
  EXPECT_EQ(run.out, "/workspace\n" + id + "\n" + id + "\nmain\ntwo\none\n2\nv1-1-g" +
                         id.substr(0, 7) + "\n" + Url("r.git") +
                         "\none\ntwo\ndeep\none\ntwo\n755\n" + Id("side") + "\n1\n");
  EXPECT_THAT(run.err, HasSubstr("commit=" + id + "\n"));
}

TEST_F(CheckoutTest, ACommitHasSeveralNames) {
  const std::string script = "git rev-parse HEAD; git symbolic-ref -q --short HEAD; git status -s";
  const std::string tagged = Id("v1");
  EXPECT_EQ(ExecUrl(script, {"--repo-commit", "v1"}).out, tagged + "\n");
  EXPECT_EQ(ExecUrl(script, {"--repo-commit", "side"}).out, Id("side") + "\nside\n");
  EXPECT_EQ(ExecUrl(script, {"--repo-commit", tagged.substr(0, 9)}).out, tagged + "\n");
}

TEST_F(CheckoutTest, AWorkTreeSaysWhichCommit) {
  const TestFolder folder;
  const std::string clone = Clone(folder);
  In(clone, "git checkout -q side");
  const std::string script = "git rev-parse HEAD; git symbolic-ref --short HEAD; git status -s; ls";
  const std::string expected = Id("side") + "\nside\na\nd\nlink\nold\ns\n";
  const Outcome clean = Exec({"--image", image_}, script, clone + "/d");
  EXPECT_EQ(clean.out, expected) << clean.err;
  EXPECT_THAT(clean.err, AllOf(HasSubstr("commit=" + Id("side")), Not(HasSubstr("warning"))));

  Write(clone + "/new", "not committed");
  const Outcome dirty = Exec({"--image", image_}, script, clone);
  EXPECT_EQ(dirty.out, expected);
  EXPECT_THAT(dirty.err, HasSubstr("changes that are not committed"));

  In(clone, "git add new; git commit -q -m mine");
  const Outcome local = Exec({"--image", image_}, script, clone);
  EXPECT_EQ(local.code, 1);
  EXPECT_THAT(local.err, AllOf(HasSubstr("not_found"), HasSubstr("git push"),
                               HasSubstr("--copy-in"), HasSubstr(Url("r.git"))));
}

TEST_F(CheckoutTest, APolicyMayTurnItOff) {
  const TestFolder folder;
  const std::string clone = Clone(folder);
  Write(clone + "/cleanroom.yaml", Policy("repository: { enabled: false }\n"));
  const Outcome off = Exec({"-c", "cleanroom.yaml"}, "ls /workspace 2>&1", clone);
  EXPECT_NE(off.code, 0);
  EXPECT_THAT(off.out, HasSubstr("No such file"));
  EXPECT_THAT(off.err, Not(HasSubstr("commit=")));
}

TEST_F(CheckoutTest, TheCommitBringsItsPolicy) {
  server_->Script("git clone -q r.git p");
  Write(*server_ / "p/cleanroom.yaml",
        Policy("repository: { path: /src/tool, network: { allow: [\"" + Host() + "\"] } }\n"));
  server_->Script(
      "cd p; git add .; git commit -q -m policy; git clone -q --bare . ../policy.git; "
      "sed -i s/localhost/elsewhere.example/ cleanroom.yaml; git commit -qam other; "
      "git push -q ../policy.git HEAD:other");
  const Outcome allowed = Exec({"--repo-url", Url("policy.git")}, "pwd; git log -1 --format=%s");
  EXPECT_EQ(allowed.out, "/src/tool\npolicy\n") << allowed.err;
  const Outcome refused = Exec({"--repo-url", Url("policy.git"), "--repo-commit", "other"}, "pwd");
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("host_not_allowed"), HasSubstr(Host()),
                                 HasSubstr("repository: { network: { allow:")));
  const Outcome none = Exec({"--repo-url", Url("r.git")}, "pwd");
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, AllOf(HasSubstr("has neither cleanroom.yaml"), HasSubstr("--image")));
}

TEST_F(CheckoutTest, SubmodulesAreCheckedOutWhereThePolicySaysSo) {
  const std::string allow = "version: 1\nsandbox: { image: { ref: '" + image_ +
                            "' } }\nrepository: { submodules: true, " + "network: { allow: ['" +
                            Host() + "'] } }\n";
  std::ofstream(*server_ / "with.yaml") << allow;
  server_->Script(R"(
git init -q -b main deep && echo deep >deep/d && git -C deep add . && git -C deep commit -q -m deep
git clone -q --bare deep deep.git
add() { git config -f .gitmodules submodule.$1.path $1; git config -f .gitmodules submodule.$1.url $2
  mkdir -p $1; git update-index --add --cacheinfo 160000,$3,$1; git add .gitmodules; }
git init -q -b main lib && cd lib && echo lib >l && git add l && add in/deep ../deep.git $(git -C ../deep rev-parse HEAD)
git commit -q -m lib && cd .. && git clone -q --bare lib lib.git
git init -q -b main top && cd top && cp ../with.yaml cleanroom.yaml && git add . && git commit -q -m none
add libs/lib )" + Url("lib.git") +
                  R"( $(git -C ../lib rev-parse HEAD)
git commit -q -m top && git tag good
git config -f .gitmodules submodule.libs/lib.url https://other.example/lib.git && git commit -q -am elsewhere && git tag elsewhere
git config -f .gitmodules submodule.libs/lib.url file:///etc && git commit -q -am file && git tag file
git config -f .gitmodules submodule.libs/lib.url ../lib.git
git update-index --cacheinfo 160000,$(git rev-parse HEAD),libs/lib && git commit -q -am unpushed && git tag unpushed
cd .. && git clone -q --bare top top.git)");
  const auto run = [](const std::string& commit, const std::string& script) {
    return Exec({"--repo-url", Url("top.git"), "--repo-commit", commit}, script);
  };
  const Outcome good = run(
      "good",
      "git status --porcelain; git submodule status --recursive | cut -c1,43-60; cat libs/lib/l "
      "libs/lib/in/deep/d; git -C libs/lib log --format=%s; git -C libs/lib/in/deep remote get-url "
      "origin; git fsck; git submodule --quiet foreach --recursive 'git fsck; git status "
      "--porcelain'; echo more >>libs/lib/l; git status --porcelain; git -C libs/lib checkout -q "
      "l; "
      "git mv libs/lib moved; git status --porcelain; git -C moved status --porcelain");
  EXPECT_EQ(good.code, 0) << good.err;
  EXPECT_EQ(good.out, " libs/lib (remotes/\n libs/lib/in/deep (\nlib\ndeep\nlib\n" +
                          Url("deep.git") +
                          "\n M libs/lib\nM  .gitmodules\nR  libs/lib -> moved\n");
  EXPECT_THAT(daemon_->Cli({"system", "df", "-v"}).out,
              ContainsRegex("submodules .*submodules of " + Url("top.git")));
  const Outcome elsewhere = run("elsewhere", "true");
  EXPECT_EQ(elsewhere.code, 1);
  EXPECT_THAT(elsewhere.err, AllOf(HasSubstr("host_not_allowed"), HasSubstr("submodule libs/lib"),
                                   HasSubstr("other.example")));
  EXPECT_THAT(run("file", "true").err, AllOf(HasSubstr("submodule libs/lib"), HasSubstr("'file'")));
  EXPECT_THAT(run("unpushed", "true").err,
              AllOf(HasSubstr("not_found"), HasSubstr("submodule libs/lib"), HasSubstr("Push it")));
  // Without the key they are empty folders, and nothing is looked at.
  const Outcome none =
      ExecUrl("ls libs/lib; git status --porcelain", {"--repo-commit", "file"}, "top.git");
  EXPECT_EQ(none.out, "") << none.err;
}

TEST_F(CheckoutTest, SaysWhatIsWrongWithARemote) {
  const Outcome unknown = ExecUrl("pwd", {"--repo-commit", "nowhere"});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.err, AllOf(HasSubstr("not_found"), HasSubstr("nowhere"),
                                 HasSubstr(Url("r.git")), Not(HasSubstr("--copy-in"))));
  const Outcome missing = ExecUrl("pwd", {}, "none.git");
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.err, AllOf(HasSubstr("not_found"), HasSubstr(Url("none.git"))));

  const Outcome plain = Exec({"--repo-url", "http://127.0.0.2/r.git", "--image", image_}, "pwd");
  EXPECT_EQ(plain.code, 1);
  EXPECT_THAT(plain.err, AllOf(HasSubstr("127.0.0.2"), HasSubstr("gateway.git.http_hosts")));

  const GitServer closed({"--user", "me:secret"});
  closed.Script("git clone -q --bare " + (*server_ / "r.git"));
  const Outcome login = Exec({"--repo-url", Url("r.git", closed), "--image", image_}, "pwd");
  EXPECT_EQ(login.code, 1);
  EXPECT_THAT(login.err, AllOf(HasSubstr("unauthenticated"), HasSubstr("localhost"),
                               HasSubstr("credential"), HasSubstr("cleanroomd")));

  std::optional<GitServer> down(std::in_place);
  const std::string gone = Url("r.git", *down);
  down.reset();
  const Outcome unreachable = Exec({"--repo-url", gone, "--image", image_}, "pwd");
  EXPECT_EQ(unreachable.code, 1);
  EXPECT_THAT(unreachable.err, AllOf(HasSubstr("unavailable"), HasSubstr(gone)));
}

TEST_F(CheckoutTest, CreatePrintsTheIdAndInspectTheRest) {
  const Outcome made = daemon_->Cli(
      {"create", "--repo-url", Url("r.git"), "--repo-commit", "side", "--image", image_});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(made.out.size(), 27U) << made.out;
  const std::string id = made.out.substr(0, 26);
  const Outcome told = daemon_->Cli({"sandbox", "inspect", id, "--json"});
  const auto repository = nlohmann::json::parse(told.out).at("repository_checkout");
  EXPECT_EQ(repository.at("remote_url"), Url("r.git"));
  EXPECT_EQ(repository.at("commit_sha"), Id("side"));
  EXPECT_EQ(repository.at("branch"), "side");
  EXPECT_EQ(repository.at("destination_dir"), "/workspace");
  EXPECT_THAT(daemon_->Cli({"sandbox", "inspect", id}).out,
              AllOf(HasSubstr(Url("r.git")), HasSubstr(Id("side"))));
  EXPECT_EQ(daemon_->Cli({"exec", "-n", "--in", id, "--", "git", "log", "-1", "--format=%s"}).out,
            "side\n");
  EXPECT_THAT(daemon_->Cli({"system", "df", "-v"}).out,
              AllOf(ContainsRegex("work-tree .* in use .*" + Url("r.git") + " at "),
                    ContainsRegex("objects .* in use .*objects of http.*/r\n"),
                    ContainsRegex("mirror .* in use .*http.*/r\n")));
  daemon_->Cli({"sandbox", "rm", id});
}

TEST_F(CheckoutTest, WhatIsHereIsNotFetchedAgain) {
  const std::string id = Id("main");
  ASSERT_EQ(ExecUrl("true", {"--repo-commit", id}).code, 0);
  const int before = server_->Requests();
  EXPECT_EQ(ExecUrl("git log -1 --format=%s", {"--repo-commit", id}).out, "two\n");
  EXPECT_EQ(server_->Requests(), before);
}

TEST_F(CheckoutTest, FoldersMoveAndGo) {
  const Outcome run = ExecUrl(
      "git mv d moved && mv moved/e moved/again && rm -r moved && git checkout -q HEAD -- d && "
      "rmdir d/e 2>/dev/null; mv d/e/f . && rm -r d && mkdir d && ls -A d && rm -r .git/hooks; "
      "git checkout -q -f HEAD && git clean -qfdx && git status --porcelain && "
      "git checkout -q side && git commit -q --allow-empty -m own --author 'x <x@y>' && "
      "git log --format=%s | head -2 && git gc -q && git fsck && git status -s",
      {"-e", "GIT_COMMITTER_NAME=x", "-e", "GIT_COMMITTER_EMAIL=x@y"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out, "own\nside\n");
}

TEST_F(CheckoutTest, ANearCommitHasExactlyItsOwnTree) {
  // As many files as it takes for a delta to be worth while.
  server_->Script(
      "git init -q -b main big && cd big && for i in $(seq 1100); do echo $i >f$i; done && "
      "mkdir -p x/y && echo 1 >x/y/only && git add . && git commit -q -m many && git tag many && "
      "echo changed >f7 && git rm -q -r f8 x && echo new >g && git add . && "
      "git commit -q -m few && git clone -q --bare . ../big.git");
  const std::string script = "git status --porcelain; ls -A | LC_ALL=C sort | sha256sum; cat f7";
  const auto tree = [](const std::string& commit) {
    return server_->Script("cd big; git checkout -q " + commit +
                           "; ls -A | LC_ALL=C sort | sha256sum; cat f7");
  };
  EXPECT_EQ(ExecUrl(script, {"--repo-commit", "many"}, "big.git").out, tree("many") + "\n");
  const Outcome few = ExecUrl(script + "; ls x; git fsck 2>&1; rm -r .git/refs; mv f9 f8; cat f8",
                              {"--repo-commit", "main"}, "big.git");
  EXPECT_EQ(few.out, tree("main") + "\n9\n") << few.err;
  const auto deltas =
      RunScript(std::string("grep -rlF --include=layer.json ") + Url("big.git") + " " + kLayers +
                " | xargs -r grep -l '\"base\": *\"[0-9a-f]' | wc -l");
  EXPECT_EQ(deltas.output, "1\n");
}

TEST_F(CheckoutTest, TheExamplesRun) {
  const std::string examples = RequiredEnv("CLEANROOM_SOURCE") + "/examples";
  const std::string path = "PATH=" + RequiredEnv("CLEANROOM_BIN") + ":" + RequiredEnv("PATH");
  const Outcome alone =
      test::Run({"env", path, examples + "/repository-less/run", image_}, daemon_->environment());
  EXPECT_EQ(alone.code, 0) << alone.err;
  EXPECT_THAT(alone.out, AllOf(HasSubstr("Linux "), HasSubstr("no way out")));

  // As it is, but for where the project and the image are, and a machine for less than a Go build.
  const TestFolder folder;
  const auto copied =
      RunScript("sed -e 's/github.com:443/" + Host() + "/' -e '/resources:/d' " + examples +
                "/by-url/cleanroom.yaml >" + (folder / "cleanroom.yaml"));
  ASSERT_EQ(copied.status, 0) << copied.output;
  const Outcome by_url = Exec({"--repo-url", Url("r.git"), "--image", image_},
                              "git log -1 --format=%s", folder.path());
  EXPECT_EQ(by_url.out, "two\n") << by_url.err;
  EXPECT_THAT(by_url.err, HasSubstr("commit=" + Id("main")));

  const Outcome sync = test::Run({"env", path, examples + "/sync/run", Url("r.git"), image_},
                                 daemon_->environment());
  EXPECT_EQ(sync.code, 0) << sync.err;
  EXPECT_THAT(sync.out, ContainsRegex("^\\?\\? note\nhere, after that:\n\\?\\? COUNT\n\\?\\? note\n"
                                      "not committed, and not ignored\nread on [0-9a-z]{26}\n"
                                      "4 files of the commit\n$"));
}

TEST_F(CheckoutTest, FilesAreTheImagesUsers) {
  const TestFolder folder;
  const auto made = RunScript("python3 " + RequiredEnv("CLEANROOM_SOURCE") +
                              "/tests/support/with_user.py \"$CLEANROOM_TEST_IMAGE\" " +
                              (folder / "image.tar") + " nobody");
  ASSERT_EQ(made.status, 0) << made.output;
  const Outcome imported =
      daemon_->Cli({"image", "import", "cleanroom.test/nobody:base", folder / "image.tar"});
  ASSERT_EQ(imported.code, 0) << imported.err;
  const std::string image = imported.out.substr(0, imported.out.find('\n'));
  const Outcome run = Exec({"--repo-url", Url("r.git"), "--image", image},
                           "id -un; stat -c %U . a d/e/f .git .git/config; git status --porcelain; "
                           "echo x >d/new && git status --porcelain");
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out, "nobody\nnobody\nnobody\nnobody\nnobody\nnobody\n?? d/new\n");
  EXPECT_EQ(daemon_->Cli({"image", "rm", image}).code, 0);
}

}  // namespace
}  // namespace cleanroom::test
