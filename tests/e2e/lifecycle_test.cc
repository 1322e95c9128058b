// Sandboxes from create to gone, by request and by force, and what is left on the host: nothing.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "os/file.h"
#include "support/daemon.h"
#include "support/host_view.h"
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
      const std::string line = os::ReadFile(entry.path() / "cmdline", size_t{1} << 20).value_or("");
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

TEST_F(LifecycleTest, TheListIsTrueAtOnce) {
  const std::string id = Create();
  EXPECT_NE(daemon_.Cli({"sandbox", "ls"}).out.find("READY"), std::string::npos);
  KillProcess("qemu-system", id);
  // What the host takes to end the process, and not what it takes to clear away after it.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  std::string list;
  do {
    list = daemon_.Cli({"sandbox", "ls"}).out;
  } while (list.find("READY") != std::string::npos && std::chrono::steady_clock::now() < deadline);
  EXPECT_EQ(list.find("READY"), std::string::npos) << list;
  const Outcome refused = daemon_.Cli({"exec", "--in", id, "-n", "--", "true"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.err.find("failed_precondition"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("signal 9"), std::string::npos) << refused.err;
  WaitEnded(id);
}

TEST_F(LifecycleTest, RecordsOfCommandsCanBeAskedForAfterwards) {
  const Outcome ran =
      daemon_.Cli({"exec", "--rm", "-n", "--image", image_, "--", "sh", "-c", "sleep 0.2; exit 3"});
  EXPECT_EQ(ran.code, 3) << ran.err;
  const Outcome last = daemon_.Cli({"status", "--last", "--json"});
  ASSERT_EQ(last.code, 0) << last.err;
  const Json json = Json::parse(last.out, nullptr, false);
  EXPECT_EQ(json["status"], "FAILED");
  EXPECT_EQ(json["exit_code"], 3);
  const std::string execution = json["execution_id"];
  for (const std::vector<std::string>& same : {std::vector<std::string>{"status", "--json"},
                                               {"status", "--last-run", "--json"},
                                               {"status", "--run-id", execution, "--json"},
                                               {"status", "--execution-id", execution, "--json"},
                                               {"execution", "inspect", "--last", "--json"}}) {
    EXPECT_EQ(daemon_.Cli(same).out, last.out) << same[1];
  }
  // For tools. The end of the sandbox is added once it is over.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  Json summary;
  while (!summary.contains("cleanup_ms") && std::chrono::steady_clock::now() < deadline) {
    std::ifstream file(daemon_.state_dir() + "/executions/" + execution +
                       "/execution-observability.json");
    summary = Json::parse(file, nullptr, false);
    usleep(10'000);
  }
  ASSERT_TRUE(summary.is_object());
  EXPECT_EQ(summary["execution_id"], execution);
  EXPECT_EQ(summary["sandbox_id"], json["sandbox_id"]);
  EXPECT_EQ(summary["backend"], "qemu");
  EXPECT_EQ(summary["image_ref"], image_);
  EXPECT_EQ(summary["image_digest"], image_.substr(image_.find('@') + 1));
  EXPECT_EQ(summary["image_cache_hit"], true);
  EXPECT_EQ(summary["policy_hash"].get<std::string>().size(), 64U);
  EXPECT_EQ(summary["exit_code"], 3);
  for (const char* phase :
       {"policy_ms", "image_ms", "network_ms", "start_ms", "exec_ms", "cleanup_ms", "total_ms"})
    EXPECT_TRUE(summary.contains(phase) && summary[phase].get<double>() >= 0) << phase << summary;
  EXPECT_GE(summary["exec_ms"].get<double>(), 200) << summary;
  EXPECT_GE(summary["total_ms"].get<double>(), summary["exec_ms"].get<double>()) << summary;
  EXPECT_TRUE(summary.contains("boot_ms") || summary.contains("agent_ms")) << summary;
}

TEST_F(LifecycleTest, ABootThatTakesTooLongFailsWithItsReason) {
  const std::string file = daemon_.folder() + "/create";
  const os::UniqueFd out = os::Open(file, O_RDWR | O_CREAT, 0600).value();
  os::Process cli = daemon_.StartCli(
      {"sandbox", "create", "--image", image_, "--launch-seconds", "2"}, out.get(), out.get());
  // Whatever is started for it does not run.
  std::set<pid_t> stopped;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  std::optional<os::ExitStatus> ended;
  while (!ended && std::chrono::steady_clock::now() < deadline) {
    ended = cli.WaitFor(std::chrono::milliseconds(1)).value();
    for (const HostProcess& one : HostView(daemon_.folder(), daemon_.state_dir()).Processes()) {
      if (one.IsMachine() && stopped.insert(one.pid).second) kill(one.pid, SIGSTOP);
    }
  }
  ASSERT_TRUE(ended) << "a create without an end";
  EXPECT_EQ(ended->ShellCode(), 1);
  const std::string said = os::ReadFile(file, 1 << 20).value();
  EXPECT_NE(said.find("the guest did not answer in time after its start"), std::string::npos)
      << said;
  EXPECT_TRUE(daemon_.Leftovers().empty());
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
