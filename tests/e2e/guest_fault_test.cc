// Guests that freeze, flood, exhaust and end what they can: each ends as docs/faults.md says, and
// the sandbox beside it notices nothing.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "os/file.h"
#include "support/daemon.h"
#include "support/host_view.h"
#include "support/program.h"

namespace cleanroom::test {
namespace {

using Json = nlohmann::json;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

constexpr int kSilence = 10;
// Of a call that nothing hinders, on a busy host.
constexpr seconds kPrompt{20};

class GuestFaultTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    daemon_ = new Daemon("backends: { qemu: { disk_mib: 64, memory_mib: 512 } }\n",
                         {"--guest-silence", std::to_string(kSilence)});
    image_ = BaseImage(*daemon_);
    other_ = Create();
  }
  static void TearDownTestSuite() {
    Remove(other_);
    delete daemon_;
    daemon_ = nullptr;
  }
  void SetUp() override { id_ = Create(); }
  // Whatever was done to the one, the other works.
  void TearDown() override {
    const auto begin = steady_clock::now();
    EXPECT_EQ(Exec(other_, "echo $((6*7))").out, "42\n");
    Remove(id_);
    EXPECT_LT(steady_clock::now() - begin, kPrompt);
    const HostView host(daemon_->folder(), daemon_->state_dir());
    EXPECT_FALSE(host.Folders().contains(id_));
  }

  static std::string Create() {
    const Outcome created = daemon_->Cli({"sandbox", "create", "--image", image_});
    EXPECT_EQ(created.code, 0) << created.err;
    return created.out.substr(0, created.out.find('\n'));
  }
  static void Remove(const std::string& id) {
    EXPECT_EQ(daemon_->Cli({"sandbox", "rm", id}).code, 0);
  }
  static Outcome Exec(const std::string& id, const std::string& script,
                      std::vector<std::string> flags = {}) {
    std::vector<std::string> argv = {"exec", "--in", id, "-n"};
    argv.insert(argv.end(), flags.begin(), flags.end());
    argv.insert(argv.end(), {"--", "sh", "-c", script});
    return daemon_->Cli(argv);
  }
  static Json Inspect(const std::string& id) {
    const Outcome outcome = daemon_->Cli({"sandbox", "inspect", id, "--json"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out, nullptr, false);
  }
  static Json AwaitEnded(const std::string& id) {
    const auto deadline = steady_clock::now() + seconds(30);
    Json json = Inspect(id);
    while (json["status"] != "FAILED" && steady_clock::now() < deadline) {
      usleep(20'000);
      json = Inspect(id);
    }
    return json;
  }
  static void Freeze(const std::string& id) {
    const HostView host(daemon_->folder(), daemon_->state_dir());
    int frozen = 0;
    for (const HostProcess& process : host.Processes()) {
      if (process.sandbox_id != id || !process.IsMachine()) continue;
      EXPECT_EQ(kill(process.pid, SIGSTOP), 0);
      ++frozen;
    }
    EXPECT_EQ(frozen, 1);
  }
  // Still usable.
  void ExpectWorks() {
    const Outcome outcome = Exec(id_, "echo $((6*7))");
    EXPECT_EQ(outcome.out, "42\n") << outcome.err;
  }

  static Daemon* daemon_;
  static std::string image_;
  static std::string other_;
  std::string id_;
};

Daemon* GuestFaultTest::daemon_ = nullptr;
std::string GuestFaultTest::image_;
std::string GuestFaultTest::other_;

TEST_F(GuestFaultTest, AFrozenGuestTakesNoCommand) {
  Freeze(id_);
  const auto begin = steady_clock::now();
  const Outcome outcome = Exec(id_, "true", {"--launch-seconds", "1"});
  EXPECT_LT(steady_clock::now() - begin, kPrompt);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err,
              HasSubstr("deadline_exceeded: the guest did not take the command within 1 s"));
}

TEST_F(GuestFaultTest, AGuestThatFreezesUnderACommandIsGivenUp) {
  const std::string file = daemon_->folder() + "/frozen";
  const os::UniqueFd out = os::Open(file, O_RDWR | O_CREAT, 0600).value();
  os::Process cli =
      daemon_->StartCli({"exec", "--in", id_, "-n", "--", "sh", "-c", "echo running; sleep 1000"},
                        out.get(), out.get());
  const auto deadline = steady_clock::now() + kPrompt;
  while (os::ReadFile(file, 1000).value_or("").find("running") == std::string::npos &&
         steady_clock::now() < deadline) {
    usleep(10'000);
  }
  Freeze(id_);
  auto ended = cli.WaitFor(seconds(kSilence) + kPrompt);
  ASSERT_TRUE(ended && *ended) << "the command line waits for a frozen guest";
  EXPECT_EQ((*ended)->ShellCode(), 1);
  EXPECT_THAT(os::ReadFile(file, 1000).value_or(""),
              HasSubstr("deadline_exceeded: the guest has not answered for 10 s"));
  const Json json = AwaitEnded(id_);
  EXPECT_EQ(json["status"], "FAILED");
  EXPECT_THAT(json["reason"].get<std::string>(), HasSubstr("has not answered for 10 s"));
}

TEST_F(GuestFaultTest, ATimeoutCountsInAFrozenGuestToo) {
  const std::string file = daemon_->folder() + "/timeout";
  const os::UniqueFd out = os::Open(file, O_RDWR | O_CREAT, 0600).value();
  os::Process cli = daemon_->StartCli(
      {"exec", "--in", id_, "-n", "--timeout", "1s", "--", "sh", "-c", "echo running; sleep 1000"},
      out.get(), out.get());
  usleep(500'000);  // it runs, or is about to: either way the guest is frozen before the timeout
  Freeze(id_);
  auto ended = cli.WaitFor(kPrompt);
  ASSERT_TRUE(ended && *ended);
  // Whichever limit comes first.
  EXPECT_THAT((*ended)->ShellCode(), testing::AnyOf(124, 1));
}

TEST_F(GuestFaultTest, ACommandThatDoesNotReadHoldsNobodyUp) {
  const Outcome outcome = daemon_->Cli(
      {"exec", "--in", id_, "--", "sh", "-c", "sleep 1; echo done"}, std::string(8 << 20, 'x'));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "done\n");
  ExpectWorks();
}

TEST_F(GuestFaultTest, AFloodOfTheConsoleIsCut) {
  const Outcome outcome =
      Exec(id_, "head -c 1300000 /dev/zero | tr '\\0' x > /dev/console; echo done");
  EXPECT_EQ(outcome.out, "done\n") << outcome.err;
  ExpectWorks();
  uintmax_t bytes = 0;
  const std::string folder = daemon_->state_dir() + "/sandboxes/" + id_;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with("console")) bytes += entry.file_size();
  }
  EXPECT_GT(bytes, 0U);
  EXPECT_LT(bytes, 4U << 20);
}

TEST_F(GuestFaultTest, OutOfMemoryEndsTheCommand) {
  const Outcome outcome = Exec(id_, "exec tail /dev/zero");
  EXPECT_EQ(outcome.code, 128 + SIGKILL) << outcome.err;
  ExpectWorks();
}

TEST_F(GuestFaultTest, AForkBombEndsWithItsCommand) {
  const Outcome outcome = Exec(id_, "b() { b | b & }; b; sleep 100", {"--timeout", "4s"});
  EXPECT_EQ(outcome.code, 124) << outcome.err;
  ExpectWorks();
}

TEST_F(GuestFaultTest, AFullDiskIsTheGuestsOwn) {
  const Outcome outcome = Exec(id_, "dd if=/dev/zero of=/big bs=1M");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("No space left on device"));
  ExpectWorks();
  EXPECT_EQ(Exec(id_, "rm /big && echo x > /small").code, 0);
}

TEST_F(GuestFaultTest, NoInodesAreTheGuestsOwn) {
  const Outcome outcome = Exec(id_,
                               "mkdir /i && cd /i && seq 1 100000 | xargs -n 1000 sh -c 'touch "
                               "\"$@\" || exit 255' -");
  EXPECT_NE(outcome.code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("No space left on device"));
  ExpectWorks();
}

TEST_F(GuestFaultTest, TheAgentOutlivesItsNeighbours) {
  // All that may be killed is; the agent and the kernel's own cannot be.
  EXPECT_EQ(Exec(id_, "kill -9 -1; kill -9 1; kill -STOP 1; echo alive").out, "alive\n");
  ExpectWorks();
}

TEST_F(GuestFaultTest, ARebootIsTheEnd) {
  const Outcome outcome = Exec(id_, "echo b > /proc/sysrq-trigger; sleep 60");
  EXPECT_EQ(outcome.code, 1);
  const Json json = AwaitEnded(id_);
  EXPECT_EQ(json["status"], "FAILED");
  EXPECT_THAT(json["reason"].get<std::string>(), HasSubstr("the virtual machine exited"));
}

TEST_F(GuestFaultTest, PowerOffIsTheEnd) {
  const Outcome outcome = Exec(id_, "echo o > /proc/sysrq-trigger; sleep 60");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("cleanroom sandbox inspect " + id_));
  const Json json = AwaitEnded(id_);
  EXPECT_EQ(json["status"], "FAILED");
  EXPECT_FALSE(json["reason"].get<std::string>().empty());
}

TEST_F(GuestFaultTest, APanicIsTheEndAndIsNamed) {
  const Outcome outcome = Exec(id_, "echo c > /proc/sysrq-trigger; sleep 60");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(AwaitEnded(id_)["reason"].get<std::string>(), HasSubstr("panicked"));
}

}  // namespace
}  // namespace cleanroom::test
