// What the program shows and removes of what the daemon keeps: sandboxes, decisions, storage.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "cli/testing/program.h"
#include "os/process.h"

namespace cleanroom::cli {
namespace {

using testing::HasSubstr;

TEST_F(ProgramTest, CreatePrintsTheBareId) {
  const auto output = Run({"sandbox", "create", "--image", image_});
  EXPECT_EQ(output.status.ShellCode(), 0);
  EXPECT_EQ(output.out, sandbox_ + "\n");
  EXPECT_EQ(output.err, "");
}

TEST_F(ProgramTest, TellsWhatTheNetworkRefusedTheCommand) {
  auto output = Run({"exec", "--in", sandbox_, "-n", "--", "refused-net", "1"});
  EXPECT_EQ(output.status.ShellCode(), 7);
  EXPECT_EQ(output.err,
            "cleanroom: refused tcp x0.example.com:443 (host_not_allowed); see cleanroom policy "
            "suggest " +
                sandbox_ + "\n");
  EXPECT_FALSE(daemon_.Noted("network"));  // no call of its own

  output = Run({"exec", "--in", sandbox_, "-n", "--", "refused-net", "2"});
  EXPECT_EQ(output.err,
            "cleanroom: refused tcp x0.example.com:443 (host_not_allowed)\n"
            "cleanroom: refused tcp x1.example.com:443 (host_not_allowed); see cleanroom policy "
            "suggest " +
                sandbox_ + "\n");

  output = Run({"exec", "--in", sandbox_, "-n", "--", "refused-net", "30"});
  EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 21);
  EXPECT_THAT(output.err, HasSubstr("cleanroom: and at least 15 more; see cleanroom policy"));

  output = Run({"exec", "--quiet", "--in", sandbox_, "-n", "--", "refused-net", "2"});
  EXPECT_EQ(output.err, "");
  EXPECT_EQ(output.status.ShellCode(), 7);
}

TEST_F(ProgramTest, ShowsNetworkDecisions) {
  auto output = Run({"sandbox", "network", sandbox_});
  EXPECT_EQ(output.status.ShellCode(), 0) << output.err;
  EXPECT_THAT(output.out, HasSubstr("TIME"));
  EXPECT_THAT(output.out, testing::ContainsRegex(
                              "2027-01-15T08:00:00.000Z  tcp      evil.example.com +80  deny    "
                              "host_not_allowed +7\n"));
  EXPECT_EQ(output.out.find('\033'), std::string::npos);
  EXPECT_EQ(std::count(output.out.begin(), output.out.end(), '\n'), 4);

  output = Run({"sandbox", "network", FakeDaemon::kUnknownSandbox});
  EXPECT_EQ(output.out, "") << "a heading before an error";
  EXPECT_EQ(output.status.ShellCode(), 1);
  output = Run({"sandbox", "network", sandbox_, "--follow"});
  EXPECT_THAT(output.out, HasSubstr("late.example.com"));
  EXPECT_THAT(output.err, HasSubstr("3 decisions came too fast"));
  EXPECT_TRUE(daemon_.Noted("network " + sandbox_ + " follow"));

  output = Run({"sandbox", "network", sandbox_, "--json"});
  EXPECT_THAT(output.out,
              testing::StartsWith(R"({"time":"2027-01-15T08:00:00.000Z","service":"tcp",)"
                                  R"("protocol":"tcp","destination":"good.example.com","port":443,)"
                                  R"("action":"allow",)"));
  EXPECT_EQ(std::count(output.out.begin(), output.out.end(), '\n'), 3);
  EXPECT_EQ(output.out.find('\033'), std::string::npos);

  output = Run({"sandbox", "network"});
  EXPECT_EQ(output.status.ShellCode(), 1);
  EXPECT_THAT(output.err, HasSubstr("which sandbox? Give its ID or --last"));
}

TEST_F(ProgramTest, SuggestsWhatWouldAllowIt) {
  auto output = Run({"policy", "suggest", sandbox_});
  EXPECT_EQ(output.status.ShellCode(), 0) << output.err;
  EXPECT_THAT(
      output.out,
      HasSubstr("allow:\n  - { host: evil.example.com, ports: [80, 443] }  # host_not_allowed\n"));
  EXPECT_EQ(output.out.find("good"), std::string::npos);
  output = Run({"policy", "suggest", sandbox_, "--json"});
  EXPECT_THAT(output.out, HasSubstr("\"host\": \"evil.example.com\""));
}

TEST_F(ProgramTest, TellsWhatIsStored) {
  auto output = Run({"system", "df"});
  EXPECT_EQ(output.status.ShellCode(), 0) << output.err;
  EXPECT_EQ(output.out,
            "KIND       COUNT  SIZE     RECLAIMABLE\n"
            "image      2      5.0 MiB  2.0 MiB\n"
            "template   1      1.0 MiB  1.0 MiB\n"
            "work-tree  2      8.0 KiB  0 B\n"
            "objects    1      4.0 KiB  0 B\n"
            "mirror     2      1.0 MiB  1.0 MiB\n"
            "audit      1      4.0 KiB  0 B\n"
            "total      9      7.0 MiB  4.0 MiB\n");
  output = Run({"system", "df", "-v"});
  EXPECT_THAT(output.out, testing::ContainsRegex("image +3.0 MiB +[0-9]+d ago +in use +registry"));
  EXPECT_THAT(output.out, testing::ContainsRegex("template +1.0 MiB .* reclaimable +0123abcd\n"));
  EXPECT_THAT(output.out, testing::ContainsRegex("audit +4.0 KiB .* kept +2026-11-22.jsonl\n"));
  EXPECT_EQ(output.out.find('\033'), std::string::npos);
  output = Run({"system", "df", "--json"});
  EXPECT_THAT(output.out, HasSubstr("\"reclaimable_bytes\": 4194304"));
  EXPECT_THAT(output.out, HasSubstr("\"last_used_at\": \"2023-11-14T22:13:20.000Z\""));
}

TEST_F(ProgramTest, ListsMirrorsAndPrunesThem) {
  auto output = Run({"gateway", "mirrors"});
  EXPECT_EQ(output.status.ShellCode(), 0) << output.err;
  EXPECT_THAT(output.out, testing::ContainsRegex(
                              "\nhttps://git.example/r\\\\x1b\\[2J +4.0 KiB +2 +1 +- +[0-9]+d "
                              "ago +in use\n"));
  EXPECT_THAT(output.out, testing::ContainsRegex("/other +1.0 MiB +0 +0 .* reclaimable\n$"));
  output = Run({"gateway", "mirrors", "--json"});
  EXPECT_THAT(output.out, HasSubstr("\"commits\": 2"));
  output = Run({"gateway", "mirrors", "prune"});
  EXPECT_EQ(output.status.ShellCode(), 1);
  EXPECT_THAT(output.err, HasSubstr("there is no terminal to ask on"));
  output = Run({"gateway", "mirrors", "prune", "--dry-run"});
  EXPECT_EQ(output.status.ShellCode(), 0) << output.err;
  EXPECT_EQ(daemon_.All(), "look mirrors  0\n");
  output = Run({"gateway", "mirrors", "prune", "--force", "https://git.example/other.git/"});
  EXPECT_EQ(output.status.ShellCode(), 0) << output.err;
  EXPECT_TRUE(daemon_.Noted("prune mirrors https://git.example/other 0")) << daemon_.All();
  output = Run({"gateway", "mirrors", "prune", "--force", "https://git.example/none"});
  EXPECT_EQ(output.status.ShellCode(), 1);
  EXPECT_THAT(output.err, HasSubstr("not_found: there is no mirror of https://git.example/none"));
  output = Run({"gateway", "mirrors", "prune", "--force", "https://git.example/r\x1b[2J"});
  EXPECT_THAT(output.err, HasSubstr("a sandbox uses the mirror of https://git.example/r\\x1b[2J"));
}

TEST_F(ProgramTest, PrunesNothingUnasked) {
  const auto output = Run({"system", "prune"}, "y\n");
  EXPECT_EQ(output.status.ShellCode(), 1);
  EXPECT_THAT(output.err, HasSubstr("invalid_argument: there is no terminal to ask on"));
  EXPECT_THAT(output.err, HasSubstr("cleanroom system prune --help"));
  EXPECT_EQ(daemon_.All(), "");
}

TEST_F(ProgramTest, PrunesWithForceAndLooksWithDryRun) {
  auto output = Run({"system", "prune", "--dry-run", "--all", "--older-than", "24h"});
  EXPECT_EQ(output.status.ShellCode(), 0) << output.err;
  EXPECT_THAT(output.out, HasSubstr("0123abcd"));
  EXPECT_THAT(output.out, testing::EndsWith("would free 1.0 MiB (1 item)\n"));
  EXPECT_EQ(daemon_.All(), "look all 86400\n");
  output = Run({"system", "prune", "--force"});
  EXPECT_EQ(output.status.ShellCode(), 0) << output.err;
  EXPECT_THAT(output.out, testing::EndsWith("freed 1.0 MiB (1 item)\n"));
  EXPECT_TRUE(daemon_.Noted("prune 0")) << daemon_.All();
  output = Run({"system", "prune", "--force", "--json"});
  EXPECT_THAT(output.out, HasSubstr("\"freed_bytes\": 1048576"));
  EXPECT_THAT(output.out, HasSubstr("\"dry_run\": false"));
  output = Run({"system", "prune", "--force", "--older-than", "13"});
  EXPECT_EQ(output.status.ShellCode(), 1);
  EXPECT_THAT(output.out, HasSubstr("freed 1.0 MiB"));
  EXPECT_THAT(output.err, HasSubstr("internal: template x: busy"));
  output = Run({"system", "prune", "--force", "--older-than", "soon"});
  EXPECT_EQ(output.status.ShellCode(), 1);
  EXPECT_THAT(output.err, HasSubstr("--older-than: 'soon' is no duration"));
}

TEST_F(ProgramTest, AsksOnATerminalBeforeItPrunes) {
  for (const std::string answer : {"n\n", "y\n"}) {
    const os::UniqueFd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_EQ(grantpt(master.get()), 0);
    ASSERT_EQ(unlockpt(master.get()), 0);
    const os::UniqueFd terminal(open(ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(terminal.valid());
    auto process =
        os::Process::Spawn(Argv({"system", "prune", "--all"}),
                           {.fds = {{0, terminal.get()}, {1, terminal.get()}, {2, terminal.get()}},
                            .new_session = true,
                            .controlling_terminal = 0});
    ASSERT_TRUE(process.has_value());
    ASSERT_TRUE(Shows(master.get(), "0123abcd"));
    ASSERT_TRUE(Shows(master.get(), "Remove? [y/N] "));
    EXPECT_FALSE(daemon_.Noted("prune")) << daemon_.All();
    ASSERT_EQ(write(master.get(), answer.data(), answer.size()),
              static_cast<ssize_t>(answer.size()));
    const auto status = process->Wait();
    ASSERT_TRUE(status.has_value());
    EXPECT_EQ(*status, (os::ExitStatus{os::ExitStatus::Kind::kExited, 0}));
    EXPECT_EQ(daemon_.Noted("prune all 0"), answer == "y\n") << daemon_.All();
  }
}

TEST_F(ProgramTest, WarmsUpAndPrintsTheKey) {
  auto output = Run({"system", "warmup", "--image", image_});
  EXPECT_EQ(output.status.ShellCode(), 0) << output.err;
  EXPECT_EQ(output.out, "0123abcd\n");
  EXPECT_EQ(output.err, "");
  EXPECT_TRUE(daemon_.Noted("warm up " + image_)) << daemon_.All();
  output = Run({"system", "warmup", "--image", "registry.example/base:1", "--json"});
  EXPECT_THAT(output.out, HasSubstr("\"size_bytes\": 77"));
  EXPECT_TRUE(daemon_.Noted("warm up registry.example/base@sha256:ddd")) << daemon_.All();
  output = Run({"--log-level", "info", "system", "warmup", "--image", image_});
  EXPECT_EQ(output.err, "cleanroom: template: booting\n");
  output = Run({"system", "warmup", "--image", image_, "--backend", "broken"});
  EXPECT_EQ(output.status.ShellCode(), 1);
  EXPECT_EQ(output.out, "");
  EXPECT_THAT(output.err, HasSubstr("runtime_launch_failed: the machine did not boot"));
}

TEST_F(ProgramTest, PullsWarmOnRequestOnly) {
  const std::string pulled = "registry.example/base@sha256:" + std::string(64, 'c');
  auto output = Run({"image", "pull", "registry.example/base"});
  EXPECT_EQ(output.out, pulled + "\n") << output.err;
  EXPECT_FALSE(daemon_.Noted("warm up"));
  output = Run({"image", "pull", "--warm", "registry.example/base"});
  EXPECT_EQ(output.status.ShellCode(), 0) << output.err;
  EXPECT_EQ(output.out, pulled + "\n");
  EXPECT_TRUE(daemon_.Noted("warm up " + pulled)) << daemon_.All();
}

}  // namespace
}  // namespace cleanroom::cli
