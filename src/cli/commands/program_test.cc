// The program itself, run as its users run it, against FakeDaemon.
#include "cli/testing/program.h"

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

#include "base/testing/result_matchers.h"
#include "os/process.h"

namespace cleanroom::cli {
namespace {

using testing::HasSubstr;

// Each library costs every command a part of its start.
TEST(ProgramFileTest, LoadsNoLibraryBesideTheCLibrary) {
  const auto output = os::Run({"readelf", "-d", CLEANROOM_PROGRAM});
  ASSERT_THAT(output, IsOk());
  size_t libraries = 0;
  for (size_t at = 0; (at = output->out.find("(NEEDED)", at)) != std::string::npos; ++at) {
    const std::string line = output->out.substr(at, output->out.find('\n', at) - at);
    ++libraries;
    // Sanitizers bring theirs.
    EXPECT_THAT(line, testing::ContainsRegex(R"(\[(libc|libm|ld-linux-[^.]*|lib[a-z]+san)\.so)"));
  }
  EXPECT_GT(libraries, 0U);
}

TEST_F(ProgramTest, PassesTheExitCodeAndStandardErrorOn) {
  const auto output = Run({"exec", "--in", sandbox_, "-e", "A=b", "--", "exit", "42"});
  EXPECT_EQ(output.status.ShellCode(), 42);
  EXPECT_EQ(output.out, "");
  EXPECT_EQ(output.err, "bye\n");
  EXPECT_TRUE(daemon_.Noted("execute exit 42 env:A=b stdin")) << daemon_.All();
  EXPECT_FALSE(daemon_.Noted("create"));
  EXPECT_FALSE(daemon_.Noted("terminate"));
}

TEST_F(ProgramTest, AnInputThatHoldsNothingIsNotPassedOn) {
  const auto output =
      os::Run({"/bin/sh", "-c", "exec \"$@\" </dev/null", "sh", CLEANROOM_PROGRAM, "--host",
               daemon_.url(), "exec", "--in", sandbox_, "--", "exit", "3"});
  EXPECT_EQ(output->status.ShellCode(), 3);
  EXPECT_TRUE(daemon_.Noted("execute exit 3")) << daemon_.All();
  EXPECT_THAT(daemon_.All(), testing::Not(HasSubstr("stdin")));
}

TEST_F(ProgramTest, BinaryInputComesBackUnchanged) {
  std::string data(8U << 20, '\0');
  uint32_t state = 1;
  for (char& c : data) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  const auto output = Run({"exec", "--in", sandbox_, "--", "cat"}, data);
  EXPECT_EQ(output.status.ShellCode(), 0);
  EXPECT_TRUE(output.out == data) << output.out.size() << " bytes";
  EXPECT_EQ(output.err, "");
}

TEST_F(ProgramTest, RemovesTheSandboxItMadeAndTellsItsId) {
  const auto output =
      Run({"exec", "--rm", "--print-sandbox-id", "-n", "--image", image_, "--", "exit", "3"});
  EXPECT_EQ(output.status.ShellCode(), 3);
  EXPECT_EQ(output.err, "sandbox_id=" + sandbox_ + "\nbye\n");
  EXPECT_TRUE(daemon_.Noted("create " + image_)) << daemon_.All();
  EXPECT_TRUE(daemon_.Noted("terminate " + sandbox_));
}

TEST_F(ProgramTest, OnlyTheFlagOpensTheNetworkAndSaysSo) {
  auto output = Run({"sandbox", "create", "--image", image_});
  EXPECT_EQ(output.status.ShellCode(), 0);
  EXPECT_TRUE(daemon_.Noted("network default deny")) << daemon_.All();
  EXPECT_FALSE(daemon_.Noted("network default allow"));
  output = Run({"sandbox", "create", "--image", image_, "--dangerously-allow-all"});
  EXPECT_EQ(output.status.ShellCode(), 0);
  EXPECT_TRUE(daemon_.Noted("network default allow")) << daemon_.All();
  EXPECT_THAT(output.err, HasSubstr("--dangerously-allow-all"));
}

TEST_F(ProgramTest, RemovesTheSandboxAlsoWhenTheCommandCannotStart) {
  const auto output = Run({"exec", "--rm", "--image", image_, "--", "refused"});
  EXPECT_EQ(output.status.ShellCode(), 1);
  EXPECT_THAT(output.err, HasSubstr("cleanroom: failed_precondition: the sandbox is STOPPED"));
  EXPECT_TRUE(daemon_.Noted("terminate " + sandbox_)) << daemon_.All();
}

TEST_F(ProgramTest, SaysWhatTheDaemonKnowsToDo) {
  auto output = Run({"image", "pull", "locked.example/app:1"});
  EXPECT_EQ(output.status.ShellCode(), 1);
  EXPECT_EQ(output.err,
            "cleanroom: unauthenticated: the registry wants credentials\n"
            "Log in with: docker login locked.example\n");
  output = Run({"sandbox", "network", FakeDaemon::kUnknownSandbox});
  EXPECT_THAT(output.err, HasSubstr("See which there are with: cleanroom sandbox ls --all"));
}

TEST_F(ProgramTest, ALostCommandLeadsToItsSandbox) {
  const auto output = Run({"exec", "--image", image_, "--", "lost"});
  EXPECT_EQ(output.status.ShellCode(), 1);
  EXPECT_THAT(output.err, HasSubstr("cleanroom: unavailable: the machine is gone\n"));
  EXPECT_THAT(output.err, HasSubstr("cleanroom sandbox inspect " + sandbox_));
}

TEST_F(ProgramTest, AnInterruptCancelsTheCommand) {
  auto program = Start({"exec", "--in", sandbox_, "-n", "--", "sleep"});
  ASSERT_TRUE(daemon_.WaitFor("attach"));
  ASSERT_TRUE(program.Kill(SIGINT).has_value());
  const auto status = program.Wait();
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(*status, (os::ExitStatus{os::ExitStatus::Kind::kExited, 130}));
  EXPECT_TRUE(daemon_.Noted("cancel")) << daemon_.All();
}

TEST_F(ProgramTest, ASecondInterruptDetaches) {
  auto program = Start({"exec", "--in", sandbox_, "-n", "--", "stubborn"});
  ASSERT_TRUE(daemon_.WaitFor("attach"));
  ASSERT_TRUE(program.Kill(SIGINT).has_value());
  ASSERT_TRUE(daemon_.WaitFor("cancel"));
  ASSERT_TRUE(program.Kill(SIGINT).has_value());
  const auto status = program.Wait();
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(*status, (os::ExitStatus{os::ExitStatus::Kind::kExited, 130}));
  EXPECT_TRUE(daemon_.WaitFor("detached")) << daemon_.All();
  EXPECT_FALSE(daemon_.Noted("terminate"));
}

TEST_F(ProgramTest, ASecondInterruptDoesNotPromiseThatTheCommandRunsOn) {
  const std::string errors = folder_.path() + "/err";
  const os::UniqueFd err(open(errors.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  auto program = os::Process::Spawn(Argv({"exec", "--in", sandbox_, "-n", "--", "stubborn"}),
                                    {.fds = {{2, err.get()}}});
  ASSERT_TRUE(program.has_value());
  ASSERT_TRUE(daemon_.WaitFor("attach"));
  ASSERT_TRUE(program->Kill(SIGINT).has_value());
  ASSERT_TRUE(daemon_.WaitFor("cancel"));
  ASSERT_TRUE(program->Kill(SIGINT).has_value());
  ASSERT_TRUE(program->Wait().has_value());
  const std::string text = os::ReadFile(errors, 4096).value();
  EXPECT_THAT(text, HasSubstr("cancelling the command; press Ctrl-C again to leave"));
  EXPECT_THAT(text,
              HasSubstr(std::string("cleanroom execution inspect ") + FakeDaemon::kExecution));
  EXPECT_EQ(text.find("it running"), std::string::npos) << text;
}

TEST_F(ProgramTest, TheLastSandboxIsTheOneMadeLastWhateverItsId) {
  auto output = Run({"sandbox", "network", "--last"});
  EXPECT_EQ(output.status.ShellCode(), 0) << output.err;
  EXPECT_TRUE(daemon_.Noted("network " + sandbox_)) << daemon_.All();
  output = Run({"sandbox", "ls"});
  const size_t first = output.out.find(FakeDaemon::kUnknownSandbox);
  const size_t last = output.out.find(sandbox_);
  ASSERT_NE(last, std::string::npos) << output.out;
  EXPECT_LT(first, last) << output.out;
}

TEST_F(ProgramTest, BumpRefKeepsTheTag) {
  const std::string file = folder_.path() + "/policy.yaml";
  const std::string before =
      "version: 1\nsandbox: { image: { ref: registry.example/base:12@sha256:";
  ASSERT_TRUE(os::WriteFileAtomic(file, before + std::string(64, '0') + " } }\n").has_value());
  for (int i = 0; i < 2; ++i) {
    const auto output = Run({"image", "bump-ref", "-c", file});
    EXPECT_EQ(output.status.ShellCode(), 0) << output.err;
    EXPECT_EQ(output.out, "registry.example/base:12@sha256:" + std::string(64, 'd') + "\n");
    EXPECT_EQ(os::ReadFile(file, 4096).value(), before + std::string(64, 'd') + " } }\n");
  }
  EXPECT_EQ(daemon_.All(), "resolve registry.example/base:12\nresolve registry.example/base:12\n");
  // The digest is what counts.
  const auto output = Run({"exec", "-c", file, "--", "cat"});
  EXPECT_EQ(output.status.ShellCode(), 0) << output.err;
  EXPECT_TRUE(daemon_.Noted("create registry.example/base:12@sha256:ddd")) << daemon_.All();
}

TEST_F(ProgramTest, UsageErrorsSayWhatToWrite) {
  const auto says = [this](std::vector<std::string> args, const std::string& what,
                           const std::string& next) {
    const auto output = Run(std::move(args));
    EXPECT_EQ(output.status.ShellCode(), 1);
    EXPECT_THAT(output.err, HasSubstr(what));
    EXPECT_THAT(output.err, HasSubstr(next));
  };
  says({"exec", "--rm", "echo", "x", "y z"},
       "write -- before the command: cleanroom exec ... -- echo x 'y z'", "cleanroom exec --help");
  says({"exec", "--nonsense", "--", "x"}, "'--nonsense' is no command or flag here",
       "cleanroom exec --help");
  says({"sandbox", "rm", "x"}, "'x' is no sandbox id", "cleanroom sandbox rm --help");
  says({"execution", "inspect", "x"}, "'x' is no execution id",
       "cleanroom execution inspect --help");
  says({"--log-level", "foo", "sandbox", "ls"},
       "'foo' is no level; write error, warn, info or debug", "--help");
  says({"exec", "--in", sandbox_, "--timeout", "500ms", "--", "x"}, "whole seconds",
       "cleanroom exec --help");
  says({"image", "import", "x:1", folder_.path()}, folder_.path() + " is a folder",
       "cleanroom image import --help");
  says({"serve"}, "the flags of serve stand behind it", "cleanroom serve --help");  // after --host
}

TEST_F(ProgramTest, GuessesNoCauseForWhatThisMachineRefused) {
  auto output = os::Run({"/bin/sh", "-c", "exec \"$0\" version >/dev/full", CLEANROOM_PROGRAM});
  EXPECT_THAT(output->err, HasSubstr("Send the output elsewhere"));
  output = os::Run({"/usr/bin/env", "-i", CLEANROOM_PROGRAM, "config", "validate"});
  EXPECT_THAT(output->err, testing::AnyOf(HasSubstr("Set HOME"), HasSubstr("/etc/cleanroom")));
  output = os::Run({CLEANROOM_PROGRAM, "image", "import", "x:1", "/nonexistent"});
  EXPECT_THAT(output->err, HasSubstr("Check the path"));
}

TEST_F(ProgramTest, HelpIsACommandToo) {
  const auto help = Run({"exec", "--help"});
  const auto output = os::Run({CLEANROOM_PROGRAM, "help", "exec"});
  EXPECT_EQ(output->status.ShellCode(), 0);
  EXPECT_EQ(output->out, help.out);
  EXPECT_THAT(os::Run({CLEANROOM_PROGRAM, "help"})->out, HasSubstr("Examples:"));
  EXPECT_EQ(os::Run({CLEANROOM_PROGRAM, "help", "image", "pull"})->out,
            Run({"image", "pull", "--help"}).out);
  EXPECT_THAT(os::Run({CLEANROOM_PROGRAM, "help", "nonsense"})->err,
              HasSubstr("'nonsense' is no command"));
}

// 1 would say that there is a difference.
TEST_F(ProgramTest, ADiffThatFailsIsNoDifference) {
  for (const std::vector<std::string>& args :
       {std::vector<std::string>{"workspace", "diff"},
        {"workspace", "diff", "x"},
        {"workspace", "diff", sandbox_, "--stat", "--name-only"},
        {"workspace", "diff", sandbox_, "--nonsense"},
        {"workspace", "diff", sandbox_, "--", "x"},
        {"workspace", "diff", sandbox_}}) {
    const auto output = Run(args);
    EXPECT_EQ(output.status.ShellCode(), 2) << output.err;
    EXPECT_EQ(output.out, "");
  }
}

TEST_F(ProgramTest, BashCompletesCommandsFlagsAndTheirValues) {
  const auto completes = [this](const std::string& words) {
    const std::string program = CLEANROOM_PROGRAM;
    const auto output = os::Run(
        {"/bin/bash", "-c",
         "program=$0 host=$1; cleanroom() { \"$program\" --host \"$host\" \"$@\"; }; "
         "source <(cleanroom completion bash); COMP_WORDS=(cleanroom " +
             words +
             "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _cleanroom; echo \" ${COMPREPLY[*]} \"",
         program, daemon_.url()});
    EXPECT_TRUE(output.has_value());
    return output ? output->out + output->err : "";
  };
  EXPECT_THAT(completes("sand"), HasSubstr(" sandbox "));
  EXPECT_THAT(completes("image pull --w"), HasSubstr(" --warm "));
  EXPECT_EQ(completes("exec --backend ''"), " qemu firecracker darwin-vz \n");
  EXPECT_EQ(completes("exec --log-level d"), " debug \n");
  EXPECT_EQ(completes("exec --image ''"), "  \n");
  EXPECT_THAT(completes("exec --image sandbox --r"), HasSubstr(" --rm "));
  EXPECT_EQ(completes("exec --in ''"),
            " " + std::string(FakeDaemon::kUnknownSandbox) + " " + sandbox_ + " \n");
  EXPECT_EQ(completes("completion z"), " zsh \n");
  EXPECT_THAT(completes("serve --li"), HasSubstr(" --listen "));
  EXPECT_EQ(completes("exec -- l"), "  \n");
  EXPECT_THAT(completes("gateway m"), HasSubstr(" mirrors "));
  EXPECT_THAT(completes("gateway mirrors p"), HasSubstr(" prune "));
  EXPECT_THAT(completes("gateway mirrors prune --d"), HasSubstr(" --dry-run "));
}

TEST_F(ProgramTest, TerminationRemovesTheSandboxOfRm) {
  auto program = Start({"exec", "--rm", "-n", "--image", image_, "--", "sleep"});
  ASSERT_TRUE(daemon_.WaitFor("attach"));
  ASSERT_TRUE(program.Kill(SIGTERM).has_value());
  const auto status = program.Wait();
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(*status, (os::ExitStatus{os::ExitStatus::Kind::kExited, 143}));
  EXPECT_TRUE(daemon_.Noted("terminate " + sandbox_)) << daemon_.All();
}

TEST_F(ProgramTest, AnInterruptWhileTheSandboxIsMadeCancelsThat) {
  auto program = Start({"exec", "--backend", "never", "--image", image_, "--", "sleep"});
  ASSERT_TRUE(daemon_.WaitFor("told"));
  ASSERT_TRUE(program.Kill(SIGINT).has_value());
  const auto status = program.Wait();
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(*status, (os::ExitStatus{os::ExitStatus::Kind::kExited, 130}));
  EXPECT_TRUE(daemon_.WaitFor("create cancelled")) << daemon_.All();
  // It might have been made in that moment.
  EXPECT_TRUE(daemon_.Noted("terminate " + sandbox_)) << daemon_.All();
}

TEST_F(ProgramTest, AReaderThatIsGoneEndsTheCommandQuietly) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  auto process = os::Process::Spawn(Argv({"exec", "--in", sandbox_, "-n", "--", "yes"}),
                                    {.fds = {{1, ends[1]}}});
  close(ends[1]);
  ASSERT_TRUE(process.has_value());
  char first = 0;
  ASSERT_EQ(read(ends[0], &first, 1), 1);
  EXPECT_EQ(first, 'y');
  close(ends[0]);
  const auto status = process->Wait();
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(*status, (os::ExitStatus{os::ExitStatus::Kind::kExited, 141}));
  EXPECT_TRUE(daemon_.Noted("cancel")) << daemon_.All();
}

TEST_F(ProgramTest, AConsoleIsRawFollowsTheSizeAndGivesTheTerminalBack) {
  const os::UniqueFd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_EQ(grantpt(master.get()), 0);
  ASSERT_EQ(unlockpt(master.get()), 0);
  const os::UniqueFd terminal(open(ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(terminal.valid());
  winsize size = {.ws_row = 30, .ws_col = 100, .ws_xpixel = 0, .ws_ypixel = 0};
  ASSERT_EQ(ioctl(master.get(), TIOCSWINSZ, &size), 0);
  termios before = {};
  ASSERT_EQ(tcgetattr(terminal.get(), &before), 0);

  auto process =
      os::Process::Spawn(Argv({"console", "--in", sandbox_, "-e", "TERM=test", "--", "cat"}),
                         {.fds = {{0, terminal.get()}, {1, terminal.get()}, {2, terminal.get()}},
                          .new_session = true,
                          .controlling_terminal = 0});
  ASSERT_TRUE(process.has_value());
  ASSERT_TRUE(daemon_.WaitFor("execute cat env:TERM=test stdin tty 30x100")) << daemon_.All();
  ASSERT_TRUE(Shows(master.get(), "ready"));
  ASSERT_EQ(write(master.get(), "first", 5), 5);
  ASSERT_TRUE(Shows(master.get(), "first"));
  ASSERT_EQ(write(master.get(), "\x03", 1), 1);  // an interrupt is a byte like any other
  ASSERT_TRUE(Shows(master.get(), "\x03"));
  size.ws_row = 40;
  ASSERT_EQ(ioctl(master.get(), TIOCSWINSZ, &size), 0);
  EXPECT_TRUE(daemon_.WaitFor("resize 40x100")) << daemon_.All();
  ASSERT_EQ(write(master.get(), "\x04", 1), 1);
  const auto status = process->Wait();
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(*status, (os::ExitStatus{os::ExitStatus::Kind::kExited, 0}));
  termios after = {};
  ASSERT_EQ(tcgetattr(terminal.get(), &after), 0);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
  EXPECT_EQ(after.c_oflag, before.c_oflag);
}

TEST_F(ProgramTest, AConsoleWithoutATerminalIsRefused) {
  const auto output = Run({"console", "--in", sandbox_});
  EXPECT_EQ(output.status.ShellCode(), 1);
  EXPECT_THAT(output.err, HasSubstr("failed_precondition: standard input is no terminal"));
}

TEST(ProgramWithoutDaemonTest, SaysHowToStartOne) {
  const auto output =
      os::Run({CLEANROOM_PROGRAM, "--host", "unix:///nonexistent/cleanroom.sock", "sandbox", "ls"});
  ASSERT_TRUE(output.has_value());
  EXPECT_EQ(output->status.ShellCode(), 1);
  EXPECT_THAT(
      output->err,
      HasSubstr("cleanroom: unavailable: no daemon answers at unix:///nonexistent/cleanroom.sock"));
  EXPECT_THAT(output->err, HasSubstr("cleanroom serve &"));
}

TEST(ProgramWithoutDaemonTest, ClosedStandardStreamsAreNoProblem) {
  const auto output = os::Run({"/bin/sh", "-c", "exec \"$0\" version <&- 2>&-", CLEANROOM_PROGRAM});
  ASSERT_TRUE(output.has_value());
  EXPECT_EQ(output->status.ShellCode(), 0);
  EXPECT_THAT(output->out, HasSubstr("cleanroom "));
}

}  // namespace
}  // namespace cleanroom::cli
