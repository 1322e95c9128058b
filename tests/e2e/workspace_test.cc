// Local changes into real sandboxes, and their changes back to a real work tree.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
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
using ::testing::Not;

constexpr const char* kRepository = R"(
git init -q -b main w && cd w
mkdir -p d/e && echo one >a && echo deep >d/e/f && echo gone >old && echo out/ >.gitignore
git add . && git commit -q -m one && cd .. && git clone -q --bare w r.git)";

class WorkspaceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = new GitServer();
    server_->Script(kRepository);
    daemon_ = new Daemon("gateway: { git: { http_hosts: [localhost] } }\n");
    image_ = BaseImage(*daemon_);
  }
  static void TearDownTestSuite() {
    delete daemon_;
    delete server_;
  }
  void SetUp() override {
    Sh("cd " + folder_.path() + " && git clone -q " + Url() + " w");
    top_ = folder_ / "w";
  }

  std::string Sh(const std::string& script) {
    const auto done = RunScript(script);
    EXPECT_EQ(done.status, 0) << script << "\n" << done.output;
    return done.output;
  }
  std::string In(const std::string& script) { return Sh("cd " + top_ + " && " + script); }
  // In the work tree.
  Outcome Cleanroom(std::vector<std::string> args) {
    return daemon_->Cli(std::move(args), "", std::chrono::seconds(120), top_);
  }
  Outcome Exec(std::vector<std::string> flags, const std::string& script) {
    std::vector<std::string> args = {"exec", "-n", "--image", image_};
    args.insert(args.end(), flags.begin(), flags.end());
    args.insert(args.end(), {"--", "sh", "-ec", script});
    return Cleanroom(std::move(args));
  }
  std::string Create(std::vector<std::string> flags) {
    std::vector<std::string> args = {"create", "--image", image_};
    args.insert(args.end(), flags.begin(), flags.end());
    const Outcome made = Cleanroom(std::move(args));
    EXPECT_EQ(made.code, 0) << made.err;
    return made.out.substr(0, made.out.find('\n'));
  }

  // As git and the daemon know it.
  static std::string Host() { return server_->named_host(); }
  static std::string Url() { return "http://" + Host() + "/r.git"; }

  static GitServer* server_;
  static Daemon* daemon_;
  static std::string image_;
  TestFolder folder_;
  std::string top_;
};
GitServer* WorkspaceTest::server_ = nullptr;
Daemon* WorkspaceTest::daemon_ = nullptr;
std::string WorkspaceTest::image_;

TEST_F(WorkspaceTest, SyncTakesChangesAlongAndBringsThemBack) {
  In("echo local >>a && rm old && echo new >n && mkdir out && echo ignored >out/o");
  const Outcome ran =
      Exec({"--sync", "--rm"},
           "git status --porcelain; cat a n; test ! -e out; mkdir out; echo x >out/p;"
           "echo guest >>a; mv d m; ln -s a link; chmod +x n; exit 3");
  EXPECT_EQ(ran.code, 3) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr(" M a\n D old\n?? n\none\nlocal\nnew\n"));
  EXPECT_EQ(In("cat a"), "one\nlocal\nguest\n");
  EXPECT_EQ(In("cat m/e/f; ls -d d 2>&1 || true"),
            "deep\nls: cannot access 'd': No such file or directory\n");
  EXPECT_EQ(In("readlink link; test -x n && echo runs; ls out; ls -a | grep -c cleanroom || true"),
            "a\nruns\no\n0\n");
}

TEST_F(WorkspaceTest, WhatWasCopiedInAndRemovedThereIsRemovedHere) {
  In("echo one >n; mkdir new; echo two >new/f; echo three >kept; echo four >>a");
  const Outcome ran = Exec({"--sync", "--rm"}, "rm -r n new; mv kept moved; git checkout -q a");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(In("git status --porcelain; ls -d new n kept 2>/dev/null || true"), "?? moved\n");
}

constexpr const char* kCommit = "git -c user.name=a -c user.email=a@b commit -q ";

TEST_F(WorkspaceTest, CommitsThatTheRemoteHasNotTravelToo) {
  In(std::string("git checkout -q -b topic; echo mine >>a; git rm -q old; ") + kCommit +
     "-am local-1; echo more >m; git add m; " + kCommit +
     "-m local-2; echo dirty >>a; echo new >n; rm m");
  const std::string head = In("git rev-parse HEAD");
  // Without a flag it is an error that names both ways.
  const Outcome refused = Exec({"--rm"}, "true");
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("not_found"), HasSubstr(head.substr(0, 40)),
                                 HasSubstr("git push"), HasSubstr("--copy-in")));

  const Outcome ran = Exec(
      {"--sync", "--print-sandbox-id"},
      "git status --porcelain -b; git log --format=%s; git fsck --full --strict; cat a; echo guest "
      ">>a; echo $CLEANROOM_COMMIT; git -c user.name=a -c user.email=a@b commit -q -m g -- n || "
      "true");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out,
            "## topic\n M a\n D m\n?? n\nlocal-2\nlocal-1\none\none\nmine\ndirty\n" + head);
  EXPECT_EQ(In("cat a; git status --porcelain"), "one\nmine\ndirty\nguest\n M a\n D m\n?? n\n");

  // Neither its id nor its objects are there for who does not send them.
  const Outcome other =
      daemon_->Cli({"exec", "-n", "--repo-url", Url(), "--image", image_, "--", "sh", "-c",
                    "git cat-file -t " + head.substr(0, 40) + "; git log --all --format=%s"});
  EXPECT_EQ(other.out, "one\n") << other.err;
  const Outcome by_id = daemon_->Cli({"exec", "-n", "--repo-url", Url(), "--repo-commit",
                                      head.substr(0, 40), "--image", image_, "--", "true"});
  EXPECT_EQ(by_id.code, 1);
  EXPECT_THAT(by_id.err, HasSubstr("not_found"));
  EXPECT_EQ(Sh("for m in " + daemon_->state_dir() + "/mirrors/*.git; do git -C $m cat-file -t " +
               head.substr(0, 40) + " 2>/dev/null; done || true"),
            "");
}

TEST_F(WorkspaceTest, ThePolicyOfALocalCommitCounts) {
  In("printf 'version: 1\nsandbox: { image: { ref: \"" + image_ +
     "\" } }\nrepository: { path: /src/mine, network: { allow: [\"" + Host() +
     "\"] } }\n' >cleanroom.yaml; git add .; " + kCommit + "-m policy");
  const Outcome ran = Cleanroom(
      {"exec", "-n", "--copy-in", "--rm", "--", "sh", "-c", "pwd; git log -1 --format=%s"});
  EXPECT_EQ(ran.out, "/src/mine\npolicy\n") << ran.err;
}

TEST_F(WorkspaceTest, LocalCommitsOutliveTheDaemon) {
  In(std::string("echo mine >>a; ") + kCommit + "-am local");
  const std::string id = Create({"--copy-in"});
  EXPECT_THAT(daemon_->Cli({"system", "df", "-v"}).out, ContainsRegex("bundle .* in use"));
  daemon_->CrashAndRestart();
  EXPECT_EQ(
      Cleanroom({"exec", "--in", id, "-n", "--", "sh", "-c", "git log --format=%s; echo x >>a"})
          .out,
      "local\none\n");
  EXPECT_EQ(Cleanroom({"workspace", "copy-out", id}).code, 0);
  EXPECT_EQ(In("cat a"), "one\nmine\nx\n");
  EXPECT_EQ(Cleanroom({"workspace", "copy-in", id}).code, 0);
}

TEST_F(WorkspaceTest, LocalCommitsAreLargerThanOtherRequestsMayBe) {
  In(std::string("head -c 20000000 /dev/urandom >large; git add large; ") + kCommit + "-m large");
  const Outcome ran = Exec({"--copy-in", "--rm"}, "sha256sum <large; git status --porcelain");
  EXPECT_EQ(ran.out, In("sha256sum <large")) << ran.err;
  In(std::string("head -c 50000000 /dev/urandom >larger; git add larger; ") + kCommit +
     "-m larger");
  const Outcome refused = Exec({"--copy-in"}, "true");
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("larger than 64 MiB"), HasSubstr("Push them")));
}

// A client that sends whatever it likes: the request's fields as protobuf writes them.
constexpr const char* kSend = R"py(
import hashlib, http.client, socket, sys
path, url, target, digest, file = sys.argv[1:]
def field(number, value):
    size, head = len(value), bytes([number << 3 | 2])
    while size > 127:
        head += bytes([size & 127 | 128]); size >>= 7
    return head + bytes([size]) + value
data = open(file, "rb").read()
digest = digest or hashlib.sha256(data).hexdigest()
bundle = b"".join(field(n, v) for n, v in
                  ((1, b"git-bundle-v1"), (2, target.encode()), (3, digest.encode()), (4, data)))
body = (field(5, field(1, url.encode()) + field(2, target.encode())) + field(8, bundle))
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(path)
connection.request("POST", "/cleanroom.v1.SandboxService/CreateSandbox", body,
                   {"content-type": "application/proto"})
print(connection.getresponse().read().decode(errors="replace"))
)py";

TEST_F(WorkspaceTest, ABundleThatIsNotWhatItSaysIsRefused) {
  In(std::string("git rev-parse HEAD >../base; echo 1 >f; git add f; ") + kCommit +
     "-m one; echo 2 >f; " + kCommit +
     "-am two; cd ..; git -C w bundle create -q $PWD/good HEAD --not origin/main; git -C w bundle "
     "create -q $PWD/floating HEAD --not HEAD~1; head -c -40 good >cut; head -c 67108865 /dev/zero "
     ">large; sed 's/^[0-9a-f]* HEAD/1111111111111111111111111111111111111111 HEAD/' good >lying");
  const std::string head = In("git rev-parse HEAD").substr(0, 40);
  std::ofstream(folder_ / "send.py") << kSend;
  const auto send = [&](const std::string& file, const std::string& target,
                        const std::string& digest = "") {
    return Sh("python3 " + (folder_ / "send.py") + " " + daemon_->socket() + " " + Url() + " " +
              target + " '" + digest + "' " + (folder_ / file));
  };
  EXPECT_THAT(send("cut", head), HasSubstr("the bundle is damaged"));
  EXPECT_THAT(send("good", head, std::string(64, '0')), HasSubstr("does not have the digest"));
  EXPECT_THAT(send("good", std::string(40, '1')),
              HasSubstr("does not have the commit that it is for"));
  EXPECT_THAT(send("lying", std::string(40, '1')),
              HasSubstr("does not have the commit that it is for"));
  EXPECT_THAT(send("floating", head),
              AllOf(HasSubstr("the local commits build on"), HasSubstr(Url())));
  EXPECT_THAT(send("large", head), HasSubstr("the local commits take 67108865 bytes"));
  EXPECT_THAT(send("w/a", head), HasSubstr("the bundle is damaged"));
  // What is wrong with that one comes later: there is no policy in it.
  EXPECT_THAT(send("good", head), HasSubstr("has neither cleanroom.yaml"));
}

TEST_F(WorkspaceTest, WithoutAFlagNothingTravels) {
  In("echo local >>a");
  const Outcome ran = Exec({"--rm"}, "cat a; echo guest >>a");
  EXPECT_EQ(ran.out, "one\n");
  EXPECT_THAT(ran.err, HasSubstr("--copy-in takes them along"));
  EXPECT_EQ(In("cat a"), "one\nlocal\n");
}

TEST_F(WorkspaceTest, ConflictsAreListedAndNothingIsWritten) {
  const std::string id = Create({});
  EXPECT_EQ(Cleanroom({"exec", "--in", id, "-n", "--", "sh", "-ec",
                       "echo guest >>a; echo g >both; echo free >free; mkdir -p .GIT; echo x "
                       ">.GIT/config; ln -s /etc/passwd evil"})
                .code,
            0);
  In("echo host >>a; echo h >both");
  const Outcome said = Cleanroom({"workspace", "copy-out", "--dry-run", "--json", id});
  ASSERT_EQ(said.code, 0) << said.err;
  std::map<std::string, std::string> actions;
  const auto json = nlohmann::json::parse(said.out);
  for (const auto& path : json.at("paths")) {
    actions[path.at("path")] = path.at("action");
  }
  EXPECT_EQ(actions["a"], "conflict");
  EXPECT_EQ(actions["both"], "conflict");
  EXPECT_EQ(actions["free"], "write");
  EXPECT_EQ(actions[".GIT/config"], "skip");
  EXPECT_EQ(actions["evil"], "skip");
  const Outcome refused = Cleanroom({"workspace", "copy-out", id});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("\n  a: changed in the sandbox and here\n  both: "));
  EXPECT_EQ(In("cat a both; ls free evil .GIT 2>/dev/null || true"), "one\nhost\nh\n");
  const Outcome forced = Cleanroom({"workspace", "copy-out", "--force", id});
  EXPECT_EQ(forced.code, 0) << forced.err;
  EXPECT_EQ(In("cat a both free; ls evil .GIT 2>/dev/null || true"), "one\nguest\ng\nfree\n");
}

TEST_F(WorkspaceTest, CopyInMakesTheSandboxsWorkTreeLikeOurs) {
  In("echo first >n; echo x >>a");
  const std::string id = Create({"--copy-in"});
  const auto cat = [&] {
    return Cleanroom(
               {"exec", "--in", id, "-n", "--", "sh", "-c", "git status --porcelain; cat a n"})
        .out;
  };
  EXPECT_EQ(cat(), " M a\n?? n\none\nx\nfirst\n");
  In("rm n; git checkout -q a; rm old");
  const Outcome dry = Cleanroom({"workspace", "copy-in", "--dry-run", id});
  EXPECT_EQ(dry.out, "write    a\ndelete   n\ndelete   old\n") << dry.err;
  ASSERT_EQ(Cleanroom({"workspace", "copy-in", id}).code, 0);
  EXPECT_EQ(cat(), " D old\none\n");
  // The sandbox of another commit is no target.
  In("git -c user.name=a -c user.email=a@b commit -q --allow-empty -m other");
  const Outcome other = Cleanroom({"workspace", "copy-in", id});
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.err, HasSubstr("failed_precondition"));
}

TEST_F(WorkspaceTest, ASandboxIsKeptWhenItsWorkCannotComeBack) {
  const Outcome ran = Exec({"--copy-out", "--rm", "--print-sandbox-id"}, "echo guest >>a");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(In("cat a"), "one\nguest\n");
  In("echo mine >z");
  const Outcome kept = Exec({"--copy-out", "--rm"}, "echo theirs >z");
  EXPECT_EQ(kept.code, 1);
  EXPECT_THAT(kept.err, HasSubstr("z: "));
  EXPECT_THAT(kept.err, HasSubstr("is kept: try again with cleanroom workspace copy-out"));
  EXPECT_EQ(In("cat z"), "mine\n");
}

}  // namespace
}  // namespace cleanroom::test
