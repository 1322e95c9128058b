// Sandboxes from create to gone, by request and by force, and what is left on the host: nothing.
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "support/daemon.h"
#include "support/program.h"

namespace cleanroom::test {
namespace {

using Json = nlohmann::json;

class LifecycleTest : public testing::Test {
 protected:
  LifecycleTest() : image_(BaseImage(daemon_)) {}

  std::string Create() {
    const Outcome created = daemon_.Cli({"sandbox", "create", "--image", image_});
    EXPECT_EQ(created.code, 0) << created.err;
    EXPECT_EQ(created.out.size(), 27U) << created.out;
    return created.out.substr(0, created.out.find('\n'));
  }
  Json Inspect(const std::string& id) {
    const Outcome outcome = daemon_.Cli({"sandbox", "inspect", id, "--json"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out, nullptr, false);
  }
  // The process whose command line holds both words.
  static pid_t FindProcess(const std::string& program, const std::string& id) {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      std::ifstream file(entry.path() / "cmdline");
      const std::string line((std::istreambuf_iterator<char>(file)), {});
      if (id.size() == 26 && line.find(program) != std::string::npos &&
          line.find(id) != std::string::npos)
        return std::stoi(name);
    }
    return 0;
  }
  static void KillProcess(const std::string& program, const std::string& id) {
    const pid_t pid = FindProcess(program, id);
    ASSERT_GT(pid, 1) << "no " << program << " of " << id;
    ASSERT_EQ(kill(pid, SIGKILL), 0);
  }
  // Follows the events of a sandbox to its end: returns when it has ended.
  Outcome WaitEnded(const std::string& id) {
    for (int i = 0; i < 200; ++i) {
      const std::string status = Inspect(id)["status"];
      if (status == "FAILED" || status == "STOPPED") break;
      test::Run({"sleep", "0.05"});
    }
    return daemon_.Cli({"sandbox", "inspect", id});
  }

  Daemon daemon_;
  std::string image_;
};

TEST_F(LifecycleTest, CreateListInspectRemove) {
  const std::string id = Create();
  const Outcome list = daemon_.Cli({"sandbox", "ls"});
  EXPECT_NE(list.out.find(id), std::string::npos) << list.out;
  const Json json = Inspect(id);
  EXPECT_EQ(json["status"], "READY");
  EXPECT_EQ(json["backend"], "qemu");
  EXPECT_EQ(json["image_ref"], image_);
  EXPECT_GT(FindProcess("cleanroom-warden", id), 0);
  EXPECT_GT(FindProcess("qemu-system", id), 0);

  EXPECT_EQ(daemon_.Cli({"sandbox", "rm", id}).code, 0);
  EXPECT_EQ(FindProcess("cleanroom-warden", id), 0);
  EXPECT_EQ(FindProcess("qemu-system", id), 0);
  EXPECT_EQ(daemon_.Cli({"sandbox", "ls"}).out.find(id), std::string::npos);
  EXPECT_EQ(Inspect(id)["status"], "STOPPED");
  EXPECT_FALSE(std::filesystem::exists(daemon_.state_dir() + "/sandboxes/" + id));
  // Removing again is no error; running in it is.
  EXPECT_EQ(daemon_.Cli({"sandbox", "rm", id}).code, 0);
  const Outcome after = daemon_.Cli({"exec", "--in", id, "--", "true"});
  EXPECT_EQ(after.code, 1);
  EXPECT_NE(after.err.find("failed_precondition"), std::string::npos) << after.err;
}

TEST_F(LifecycleTest, RmFlagLeavesNothing) {
  const Outcome outcome = daemon_.Cli(
      {"exec", "--rm", "--print-sandbox-id", "--image", image_, "--", "sh", "-c", "exit 5"});
  EXPECT_EQ(outcome.code, 5) << outcome.err;
  const size_t at = outcome.err.find("sandbox_id=");
  ASSERT_NE(at, std::string::npos) << outcome.err;
  const std::string id = outcome.err.substr(at + 11, 26);
  EXPECT_EQ(FindProcess("cleanroom-warden", id), 0);
  EXPECT_EQ(daemon_.Cli({"sandbox", "ls"}).out.find(id), std::string::npos);
}

TEST_F(LifecycleTest, GuestPanicEndsTheSandboxWithItsReason) {
  const std::string id = Create();
  const Outcome crash = daemon_.Cli(
      {"exec", "--in", id, "-n", "--", "sh", "-c", "echo c > /proc/sysrq-trigger; sleep 60"});
  EXPECT_EQ(crash.code, 1);
  const Outcome shown = WaitEnded(id);
  const Json json = Inspect(id);
  EXPECT_EQ(json["status"], "FAILED");
  EXPECT_NE(json["reason"].get<std::string>().find("panick"), std::string::npos) << json;
  EXPECT_NE(json["console_tail"].get<std::string>().find("sysrq_handle_crash"), std::string::npos)
      << json;
  EXPECT_NE(shown.out.find("panick"), std::string::npos) << shown.out;
}

TEST_F(LifecycleTest, KilledMachineEndsTheSandboxAndItsWarden) {
  const std::string id = Create();
  KillProcess("qemu-system", id);
  WaitEnded(id);
  const Json json = Inspect(id);
  EXPECT_EQ(json["status"], "FAILED");
  EXPECT_NE(json["reason"].get<std::string>().find("signal 9"), std::string::npos) << json;
}

TEST_F(LifecycleTest, KilledWardenTakesItsMachineAlong) {
  const std::string id = Create();
  const pid_t machine = FindProcess("qemu-system", id);
  KillProcess("cleanroom-warden", id);
  WaitEnded(id);
  EXPECT_EQ(Inspect(id)["status"], "FAILED");
  for (int i = 0; i < 100 && std::filesystem::exists("/proc/" + std::to_string(machine)); ++i)
    test::Run({"sleep", "0.05"});
  EXPECT_EQ(FindProcess("qemu-system", id), 0);
}

TEST_F(LifecycleTest, SandboxesSurviveACrashOfTheDaemon) {
  const std::string id = Create();
  EXPECT_EQ(daemon_.Cli({"exec", "--in", id, "-n", "--", "sh", "-c", "echo before > /root/x"}).code,
            0);
  daemon_.CrashAndRestart();
  const Outcome outcome = daemon_.Cli({"exec", "--in", id, "-n", "--", "cat", "/root/x"});
  EXPECT_EQ(outcome.out, "before\n") << outcome.err;
}

TEST_F(LifecycleTest, GracefulStopLeavesNothingRunning) {
  const std::string first = Create();
  const std::string second = Create();
  EXPECT_EQ(daemon_.Stop(), 0);
  for (const std::string& id : {first, second}) {
    EXPECT_EQ(FindProcess("cleanroom-warden", id), 0);
    EXPECT_EQ(FindProcess("qemu-system", id), 0);
  }
}

TEST_F(LifecycleTest, BootsWhileBothCoresAreBusy) {
  std::vector<os::Process> spinners;
  spinners.reserve(2);
  for (int i = 0; i < 2; ++i) {
    spinners.push_back(os::Process::Spawn({"/bin/sh", "-c", "while :; do :; done"}, {}).value());
  }
  for (int i = 0; i < 3; ++i) {
    const Outcome outcome =
        daemon_.Cli({"exec", "--rm", "-n", "--image", image_, "--", "echo", "up"});
    EXPECT_EQ(outcome.out, "up\n") << outcome.err;
  }
}

}  // namespace
}  // namespace cleanroom::test
