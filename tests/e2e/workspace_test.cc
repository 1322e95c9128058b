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
    const std::string port = server_->host().substr(server_->host().find(':'));
    Sh("cd " + folder_.path() + " && git clone -q http://localhost" + port + "/r.git w");
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
