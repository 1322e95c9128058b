// A command in a real virtual machine, as a user sees it: output, input, exit codes, users,
// signals, terminals.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/daemon.h"
#include "support/program.h"

namespace cleanroom::test {
namespace {

using Json = nlohmann::json;

class ExecTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    daemon_ = std::make_unique<Daemon>();
    image_ = BaseImage(*daemon_);
    const Outcome created = daemon_->Cli({"sandbox", "create", "--image", image_});
    ASSERT_EQ(created.code, 0) << created.err;
    sandbox_ = created.out.substr(0, created.out.find('\n'));
    ASSERT_EQ(sandbox_.size(), 26U) << created.out;
  }
  static void TearDownTestSuite() { daemon_.reset(); }

  // Runs in the shared sandbox.
  static Outcome Exec(std::vector<std::string> command, const std::string& input = "",
                      std::vector<std::string> flags = {}) {
    std::vector<std::string> args = {"exec", "--in", sandbox_};
    args.insert(args.end(), flags.begin(), flags.end());
    args.emplace_back("--");
    args.insert(args.end(), command.begin(), command.end());
    return daemon_->Cli(args, input);
  }
  static Outcome Shell(const std::string& script, const std::string& input = "",
                       std::vector<std::string> flags = {}) {
    return Exec({"sh", "-c", script}, input, std::move(flags));
  }

  static std::unique_ptr<Daemon> daemon_;
  static std::string image_;
  static std::string sandbox_;
};

std::unique_ptr<Daemon> ExecTest::daemon_;
std::string ExecTest::image_;
std::string ExecTest::sandbox_;

std::string HostKernel() {
  std::ifstream in("/proc/sys/kernel/osrelease");
  std::string out;
  in >> out;
  return out;
}

TEST_F(ExecTest, RunsUnderAKernelOfItsOwn) {
  const Outcome uname = Exec({"uname", "-r"});
  EXPECT_EQ(uname.code, 0) << uname.err;
  EXPECT_NE(uname.out, HostKernel() + "\n");
  EXPECT_NE(uname.out.find("cloud-amd64"), std::string::npos) << uname.out;
  EXPECT_NE(Shell("cat /etc/os-release").out.find("Debian"), std::string::npos);
}

TEST_F(ExecTest, KeepsStdoutStderrAndExitCodeApart) {
  const Outcome outcome = Shell("echo out; echo err >&2; exit 7");
  EXPECT_EQ(outcome.code, 7);
  EXPECT_EQ(outcome.out, "out\n");
  EXPECT_EQ(outcome.err, "err\n");
}

TEST_F(ExecTest, SignalDeathIs128PlusSignal) {
  EXPECT_EQ(Shell("kill -SEGV $$").code, 128 + SIGSEGV);
}

TEST_F(ExecTest, CommandThatDoesNotExistIs127AndCannotRunIs126) {
  const Outcome missing = Exec({"no-such-command"});
  EXPECT_EQ(missing.code, 127);
  EXPECT_NE(missing.err.find("no-such-command"), std::string::npos) << missing.err;
  const Outcome directory = Exec({"/etc"});
  EXPECT_EQ(directory.code, 126);
  EXPECT_FALSE(directory.err.empty());
  EXPECT_EQ(Exec({"/etc/passwd"}).code, 126);
}

TEST_F(ExecTest, StdinReachesTheCommandAndEnds) {
  EXPECT_EQ(Exec({"wc", "-c"}, "12345").out, "5\n");
  EXPECT_EQ(Exec({"cat"}).out, "");
  EXPECT_EQ(Exec({"cat"}, "ignored", {"-n"}).out, "");
}

TEST_F(ExecTest, HundredMebibytesBothWaysUnchanged) {
  std::string data(size_t{100} << 20, '\0');
  std::mt19937_64 random(42);
  for (size_t i = 0; i + 8 <= data.size(); i += 8) {
    const uint64_t word = random();
    std::copy_n(reinterpret_cast<const char*>(&word), 8,
                data.begin() + static_cast<std::ptrdiff_t>(i));
  }
  const Outcome outcome = Exec({"cat"}, data);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(outcome.out == data) << outcome.out.size();
}

TEST_F(ExecTest, EnvironmentWorkdirAndUser) {
  EXPECT_EQ(Shell("echo $GREETING", "", {"-e", "GREETING=hello world"}).out, "hello world\n");
  EXPECT_EQ(Exec({"pwd"}, "", {"-w", "/usr/lib"}).out, "/usr/lib\n");
  EXPECT_EQ(Exec({"id", "-un"}, "", {"-u", "nobody"}).out, "nobody\n");
  EXPECT_EQ(Exec({"id", "-u"}, "", {"-u", "1234:5678"}).out, "1234\n");
  EXPECT_EQ(Exec({"id", "-un"}).out, "root\n");
  EXPECT_NE(Exec({"true"}, "", {"-u", "nobody-by-that-name"}).code, 0);
  EXPECT_NE(Exec({"true"}, "", {"-w", "/no/such/dir"}).code, 0);
}

TEST_F(ExecTest, FilesStayFromCommandToCommand) {
  EXPECT_EQ(Shell("echo kept > /root/file && chmod 640 /root/file").code, 0);
  EXPECT_EQ(Shell("cat /root/file; stat -c %a /root/file").out, "kept\n640\n");
}

TEST_F(ExecTest, SeveralCommandsAtOnce) {
  std::vector<std::thread> threads;
  std::array<Outcome, 4> outcomes;
  threads.reserve(outcomes.size());
  for (size_t i = 0; i < outcomes.size(); ++i) {
    threads.emplace_back([i, &outcomes] {
      // Each waits for the next one's mark, so none can end before all have started.
      outcomes[i] =
          Shell("touch /tmp/mark" + std::to_string(i) + "; until [ -e /tmp/mark" +
                std::to_string((i + 1) % 4) + " ]; do sleep 0.05; done; echo " + std::to_string(i));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < outcomes.size(); ++i) {
    EXPECT_EQ(outcomes[i].code, 0) << outcomes[i].err;
    EXPECT_EQ(outcomes[i].out, std::to_string(i) + "\n");
  }
}

TEST_F(ExecTest, TimeoutIs124) {
  const Outcome outcome = Exec({"sleep", "600"}, "", {"--timeout", "1s"});
  EXPECT_EQ(outcome.code, 124);
  EXPECT_NE(outcome.err.find("timeout"), std::string::npos) << outcome.err;
}

TEST_F(ExecTest, TerminalHasASizeAndOneStream) {
  const Outcome outcome =
      Exec({"sh", "-c", "test -t 0 && test -t 1 && test -t 2 && stty size && echo tty >&2"}, "",
           {"--tty"});
  EXPECT_EQ(outcome.code, 0) << outcome.out << outcome.err;
  EXPECT_NE(outcome.out.find("tty\r\n"), std::string::npos) << outcome.out;
  EXPECT_NE(Exec({"test", "-t", "0"}).code, 0);
}

TEST_F(ExecTest, InterruptCancelsTheCommandAndIs130) {
  std::array<int, 2> out{};
  ASSERT_EQ(pipe2(out.data(), O_CLOEXEC), 0);
  os::UniqueFd read_end(out[0]), write_end(out[1]);
  os::Process cli = daemon_->StartCli(
      {"exec", "--in", sandbox_, "--", "sh", "-c", "echo started; exec sleep 601"}, write_end.get(),
      write_end.get());
  write_end.reset();
  char first = 0;
  ASSERT_EQ(read(read_end.get(), &first, 1), 1);
  ASSERT_TRUE(cli.Kill(SIGINT).has_value());
  const auto status = cli.WaitFor(std::chrono::seconds(20));
  ASSERT_TRUE(status.has_value() && status->has_value()) << "still running";
  EXPECT_EQ((*status)->ShellCode(), 130);
  EXPECT_EQ(Shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 60[1]' || true").out,
            "0\n");
}

TEST_F(ExecTest, ClientThatVanishesLeavesTheCommandAndItsOutput) {
  std::array<int, 2> out{};
  ASSERT_EQ(pipe2(out.data(), O_CLOEXEC), 0);
  os::UniqueFd read_end(out[0]), write_end(out[1]);
  os::Process cli = daemon_->StartCli({"exec", "--in", sandbox_, "--", "sh", "-c",
                                       "echo first; sleep 1; echo second; touch /root/finished"},
                                      write_end.get(), write_end.get());
  write_end.reset();
  char first = 0;
  ASSERT_EQ(read(read_end.get(), &first, 1), 1);
  ASSERT_TRUE(cli.Kill(SIGKILL).has_value());
  ASSERT_TRUE(cli.Wait().has_value());
  EXPECT_EQ(
      Shell("for i in $(seq 200); do [ -e /root/finished ] && exit 0; sleep 0.1; done; exit 1")
          .code,
      0);
}

TEST_F(ExecTest, ImageEnvironmentApplies) {
  const Outcome outcome = Shell("echo $PATH; echo $HOME; hostname");
  EXPECT_NE(outcome.out.find("/usr/bin"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("/root\n"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find(sandbox_), std::string::npos) << outcome.out;
}

TEST_F(ExecTest, RecordsOfExecutions) {
  EXPECT_EQ(Shell("exit 3").code, 3);
  const Outcome last = daemon_->Cli({"execution", "inspect", "--last", "--json"});
  ASSERT_EQ(last.code, 0) << last.err;
  const Json json = Json::parse(last.out);
  EXPECT_EQ(json["exit_code"], 3);
  EXPECT_EQ(json["sandbox_id"], sandbox_);
  EXPECT_EQ(json["command"], Json({"sh", "-c", "exit 3"}));
  const Outcome list = daemon_->Cli({"execution", "ls", "--all", "--json"});
  EXPECT_NE(list.out.find(json["execution_id"].get<std::string>()), std::string::npos);
}

}  // namespace
}  // namespace cleanroom::test
