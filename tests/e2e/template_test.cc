// Templates and spare machines: what is made before it is asked for, and what happens when it is
// damaged or dies.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "os/file.h"
#include "support/daemon.h"
#include "support/program.h"

namespace cleanroom::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

constexpr const char* kMarker = "zebra-7f3a-crossing";
constexpr const char* kPowerOff = "echo o > /proc/sysrq-trigger; sleep 60";

class TemplateTest : public testing::Test {
 protected:
  explicit TemplateTest(const std::string& config = "")
      : daemon_(config), image_(BaseImage(daemon_)) {}

  void WarmUp() {
    const Outcome outcome = daemon_.Cli({"system", "warmup", "--image", image_});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    ASSERT_EQ(Templates().size(), 1U);
  }
  std::vector<fs::path> Templates() const {
    std::error_code error;
    std::vector<fs::path> found;
    for (fs::directory_iterator it(daemon_.state_dir() + "/templates", error), end;
         !error && it != end; it.increment(error)) {
      found.push_back(it->path());
    }
    return found;
  }
  std::string Create() {
    const Outcome created = daemon_.Cli({"sandbox", "create", "--image", image_});
    EXPECT_EQ(created.code, 0) << created.err;
    return created.out.substr(0, created.out.find('\n'));
  }
  void ExpectThatNothingIsShared(const std::string& origin);
  // Until a sandbox comes to be in this way.
  void Await(const std::string& origin) {
    WarmUp();
    ASSERT_TRUE(Eventually([&] {
      if (Processes(daemon_.state_dir(), "qemu-system").empty()) return false;
      const std::string id = Create();
      const std::string found = Origin(id);
      Remove(id);
      return found == origin;
    }));
  }
  void Remove(const std::string& id) { EXPECT_EQ(daemon_.Cli({"sandbox", "rm", id}).code, 0); }
  std::string Run(const std::string& id, const std::string& script) {
    const Outcome outcome = daemon_.Cli({"exec", "--in", id, "--", "sh", "-c", script});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.out;
  }
  // "boot", "restore", "fork" or "spare": how it came to be.
  std::string Origin(const std::string& id) {
    const Outcome outcome = daemon_.Cli({"sandbox", "inspect", id, "--json"});
    const Json json = Json::parse(outcome.out, nullptr, false);
    const Json told = json.value("phases", Json::object());
    std::set<std::string> phases;
    for (const auto& [name, ms] : told.items()) phases.insert(name);
    if (phases.contains("boot_ms")) return "boot";
    if (phases.contains("restore_ms")) return "restore";
    if (phases.contains("fork_ms")) return "fork";
    return phases.contains("agent_ms") ? "spare" : outcome.out;
  }
  template <typename Condition>
  static bool Eventually(Condition condition) {
    const auto deadline = steady_clock::now() + std::chrono::seconds(60);
    while (!condition()) {
      if (steady_clock::now() > deadline) return false;
      usleep(20'000);
    }
    return true;
  }
  // Those that have these words in their command lines.
  static std::vector<pid_t> Processes(const std::string& text, const std::string& program = "") {
    std::vector<pid_t> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      const std::string line = os::ReadFile(entry.path() / "cmdline", size_t{1} << 20).value_or("");
      const bool ours = line.find("cleanroom-warden") != std::string::npos ||
                        line.find("qemu-system") != std::string::npos;
      if (ours && line.find(text) != std::string::npos && line.find(program) != std::string::npos) {
        found.push_back(std::stoi(name));
      }
    }
    return found;
  }
  // Whether a sparse file holds the text: "yes" or "no".
  static std::string Search(const fs::path& file, const std::string& text) {
    const Outcome outcome = test::Run(
        {"python3", "-c",
         "import os,sys\n"
         "fd,text,at,found=os.open(sys.argv[1],os.O_RDONLY),sys.argv[2].encode(),0,False\n"
         "try:\n"
         "  while True:\n"
         "    at=os.lseek(fd,at,os.SEEK_DATA); end=os.lseek(fd,at,os.SEEK_HOLE)\n"
         "    found=found or text in os.pread(fd,end-at,at); at=end\n"
         "except OSError: print('yes' if found else 'no',end='')\n",
         file, text});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.out;
  }
  size_t Folders() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(daemon_.state_dir() + "/sandboxes"), {}));
  }

  Daemon daemon_;
  std::string image_;
};

void TemplateTest::ExpectThatNothingIsShared(const std::string& origin) {
  constexpr const char* kIdentity =
      "cat /proc/sys/kernel/random/uuid /etc/machine-id; hostname; "
      "head -c 32 /dev/urandom | sha256sum; "
      "mkdir -p /tmp/k; command -v openssl >/dev/null && openssl genrsa 512 2>/dev/null; true";
  std::set<std::string> words;
  size_t count = 0;
  for (int i = 0; i < 3; ++i) {
    const std::string id = Create();
    EXPECT_EQ(Origin(id), origin);
    const std::string identity = Run(id, kIdentity);
    EXPECT_THAT(identity, HasSubstr(id));
    std::istringstream lines(identity);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("-----")) continue;
      words.insert(line);
      ++count;
    }
    // What one writes, the next does not see.
    EXPECT_EQ(Run(id, "cat /etc/left-behind 2>/dev/null; echo mine > /etc/left-behind; sync"), "");
    Remove(id);
  }
  EXPECT_GE(count, 12U);
  EXPECT_EQ(words.size(), count) << "copies drew the same";
}

TEST_F(TemplateTest, CopiesShareNothingThatMustDiffer) {
  WarmUp();
  ExpectThatNothingIsShared("restore");
}

TEST_F(TemplateTest, ClocksAgreeWithTheHosts) {
  WarmUp();
  const std::string id = Create();
  ASSERT_EQ(Origin(id), "restore");
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  };
  for (int i = 0; i < 3; ++i) {
    const double before = now();
    const double guest = std::stod(Run(id, "date +%s.%N"));
    const double after = now();
    EXPECT_GT(guest, before - 0.05);
    EXPECT_LT(guest, after + 0.05);
  }
  Remove(id);
}

TEST_F(TemplateTest, MemoryHoldsNothingOfAnyUser) {
  const Outcome used =
      daemon_.Cli({"exec", "--rm", "--image", image_, "-e", std::string("SECRET=") + kMarker, "--",
                   "sh", "-c", "echo $SECRET > /root/file"});
  ASSERT_EQ(used.code, 0) << used.err;
  WarmUp();
  const fs::path folder = Templates().front();
  for (const char* name : {"memory", "disk.img", "state"}) {
    EXPECT_EQ(Search(folder / name, kMarker), "no") << name;
  }
  // The search finds what is there.
  EXPECT_EQ(Search(folder / "memory", "cleanroom-guest"), "yes");
}

// The kernel resets every device then, also those that came out of the template's state.
TEST_F(TemplateTest, ACopyPowersOffInOrder) {
  WarmUp();
  const std::string id = Create();
  ASSERT_EQ(Origin(id), "restore");
  EXPECT_EQ(daemon_.Cli({"exec", "--in", id, "--", "sh", "-c", kPowerOff}).code, 1);
  std::string reason;
  EXPECT_TRUE(Eventually([&] {
    const Json json =
        Json::parse(daemon_.Cli({"sandbox", "inspect", id, "--json"}).out, nullptr, false);
    reason = json.value("reason", "");
    return json.value("status", "") == "FAILED";
  }));
  EXPECT_THAT(reason, HasSubstr("the virtual machine exited"));
}

TEST_F(TemplateTest, ACopyCannotWriteToIt) {
  if (geteuid() != 0) GTEST_SKIP() << "only root looks into another process's root";
  WarmUp();
  const std::string id = Create();
  ASSERT_EQ(Origin(id), "restore");
  const fs::path folder = Templates().front();
  int seen = 0;
  for (const pid_t pid : Processes(id)) {
    const std::string root = "/proc/" + std::to_string(pid) + "/root";
    // In the warden's root the machine's is a folder.
    const bool warden = fs::exists(root + "/vmm");
    for (const char* name : {"memory", "disk.img"}) {
      const std::string path = root + (warden ? "/vmm" : "") + (folder / name).string();
      EXPECT_EQ(access(path.c_str(), R_OK), 0) << path;
      EXPECT_LT(open(path.c_str(), O_RDWR | O_CLOEXEC), 0) << path;
      EXPECT_EQ(errno, EROFS) << path;
    }
    ++seen;
  }
  EXPECT_EQ(seen, 2) << "the warden and the VMM";
  Remove(id);
}

TEST_F(TemplateTest, ADamagedTemplateCostsABootAndIsMadeAnew) {
  using Damage = void (*)(const fs::path&);
  const Damage damages[] = {
      [](const fs::path& folder) {  // one byte of the guest's memory
        const int fd = open((folder / "memory").c_str(), O_RDWR);
        if (fd < 0) fs::permissions(folder / "memory", fs::perms::owner_all);
        const int again = fd < 0 ? open((folder / "memory").c_str(), O_RDWR) : fd;
        ASSERT_EQ(pwrite(again, "!", 1, 32 << 20), 1);
        close(again);
      },
      [](const fs::path& folder) {
        fs::permissions(folder / "state", fs::perms::owner_all);
        fs::resize_file(folder / "state", 1000);
      },
      [](const fs::path& folder) { fs::remove(folder / "disk.img"); },
      [](const fs::path& folder) { fs::remove_all(folder); },
  };
  WarmUp();
  for (const Damage damage : damages) {
    const std::string running = Create();
    ASSERT_EQ(Origin(running), "restore");
    damage(Templates().front());
    // What runs from it already runs on.
    EXPECT_EQ(Run(running, "echo still here"), "still here\n");
    const std::string id = Create();
    EXPECT_EQ(Origin(id), "boot");
    EXPECT_EQ(Run(id, "echo works"), "works\n");
    Remove(running);
    Remove(id);
    WarmUp();
  }
}

TEST_F(TemplateTest, OneThatIsCutShortUnderItsCopyHurtsThatCopyAlone) {
  WarmUp();
  const std::string copy = Create();
  ASSERT_EQ(Origin(copy), "restore");
  const fs::path memory = Templates().front() / "memory";
  fs::permissions(memory, fs::perms::owner_all);
  fs::resize_file(memory, 4096);
  // Pages that it has not touched yet are gone. Whether it needs one is its own affair.
  constexpr const char* kTouchMuch =
      "find / -xdev > /dev/null 2>&1; head -c 50000000 /dev/zero | tail -c 1 > /dev/null; "
      "echo alive";
  const Outcome outcome = daemon_.Cli({"exec", "--in", copy, "-n", "--", "sh", "-c", kTouchMuch});
  if (outcome.code == 0) {
    EXPECT_EQ(outcome.out, "alive\n");
  } else {
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_TRUE(Eventually([&] {
      const Outcome shown = daemon_.Cli({"sandbox", "inspect", copy, "--json"});
      return shown.out.find("FAILED") != std::string::npos &&
             shown.out.find("signal 7") != std::string::npos;
    })) << daemon_.Cli({"sandbox", "inspect", copy}).out;
  }
  const std::string id = Create();
  EXPECT_EQ(Origin(id), "boot");
  EXPECT_EQ(Run(id, "echo works"), "works\n");
  Remove(id);
  Remove(copy);
}

TEST_F(TemplateTest, AStateThatTheMachineMonitorRefusesCostsABoot) {
  WarmUp();
  // As one that another version had written: whole by its manifest, and not what QEMU takes.
  const fs::path folder = Templates().front();
  daemon_.Stop();
  fs::permissions(folder / "state", fs::perms::owner_all);
  fs::permissions(folder / "manifest.json", fs::perms::owner_all);
  const Outcome forged =
      test::Run({"python3", "-c",
                 "import hashlib,json,sys\n"
                 "folder=sys.argv[1]\n"
                 "open(folder+'/state','wb').write(b'QEVM'+b'\\0'*4000)\n"
                 "m=json.load(open(folder+'/manifest.json'))\n"
                 "m['files']['state']=hashlib.sha256(b'QEVM'+b'\\0'*4000).hexdigest()\n"
                 "json.dump(m,open(folder+'/manifest.json','w'))\n",
                 folder});
  ASSERT_EQ(forged.code, 0) << forged.err;
  daemon_.StartAgain();
  const std::string id = Create();
  EXPECT_EQ(Origin(id), "boot");
  EXPECT_EQ(Run(id, "echo works"), "works\n");
  Remove(id);
}

TEST_F(TemplateTest, DaemonKilledWhileMakingLeavesNothing) {
  for (const int delay_ms : {50, 400, 1500}) {
    const Outcome used = daemon_.Cli({"exec", "--rm", "--image", image_, "--", "true"});
    ASSERT_EQ(used.code, 0) << used.err;  // a template is being made from now on
    usleep(static_cast<useconds_t>(delay_ms) * 1000);
    daemon_.CrashAndRestart();
    EXPECT_EQ(Folders(), 0U) << delay_ms;
    EXPECT_TRUE(daemon_.Leftovers().empty()) << daemon_.Leftovers().front();
    EXPECT_LE(Templates().size(), 1U);
    const std::string id = Create();
    EXPECT_EQ(Run(id, "echo works"), "works\n");
    Remove(id);
  }
}

class UnheldTest : public TemplateTest {
 protected:
  UnheldTest() : TemplateTest("pool: { size: 0, hold: false }\n") {}
};

TEST_F(UnheldTest, NothingIsHeldAndCopiesDo) {
  WarmUp();
  // A machine would be held long before that.
  const auto end = steady_clock::now() + std::chrono::seconds(5);
  for (int i = 0; i < 3 || steady_clock::now() < end; ++i) {
    const std::string id = Create();
    EXPECT_EQ(Origin(id), "restore");
    EXPECT_EQ(Run(id, "echo works"), "works\n");
    Remove(id);
    EXPECT_TRUE(Processes(daemon_.state_dir()).empty()) << "a machine for nobody";
  }
}

class SpareTest : public TemplateTest {
 protected:
  SpareTest() : TemplateTest("pool: { size: 1 }\n") {}
  // The folder of the machine that waits; empty: none does.
  bool Waiting() const {
    for (const std::string& line : daemon_.Leftovers()) {
      if (line.find("qemu-system") != std::string::npos) return true;
    }
    return false;
  }
};

TEST_F(SpareTest, IsHandedOutOnce) {
  Await("spare");
  std::set<std::string> ids;
  std::set<std::string> machine_ids;
  int spares = 0;
  for (int i = 0; i < 6; ++i) {
    const std::string id = Create();
    if (Origin(id) == "spare") ++spares;
    EXPECT_TRUE(ids.insert(id).second);
    EXPECT_EQ(Run(id, "hostname; ls -A /root /tmp | grep -c left-behind; touch /tmp/left-behind"),
              id + "\n0\n");
    EXPECT_TRUE(machine_ids.insert(Run(id, "cat /etc/machine-id")).second);
  }
  for (const std::string& id : ids) Remove(id);
}

TEST_F(SpareTest, ADeadOneIsNotMissed) {
  Await("spare");
  ASSERT_TRUE(Eventually([&] { return Waiting(); }));
  for (const pid_t pid : Processes(daemon_.state_dir(), "qemu-system")) kill(pid, SIGKILL);
  const std::string id = Create();
  EXPECT_EQ(Run(id, "echo works"), "works\n");
  Remove(id);
}

// Machines are forked from one that is held.
class HeldTest : public TemplateTest {
 protected:
  HeldTest() : TemplateTest("pool: { size: 0 }\n") {}
  void SetUp() override {
    if (!CLEANROOM_FORK_SERVER) GTEST_SKIP() << "built without CLEANROOM_FORK_SERVER";
  }
  // The VMM of the sandbox, or of the held machine, which carries the only name with no sandbox.
  pid_t VmmOf(const std::string& id) const {
    const auto found = Processes(id, "qemu-system");
    return found.size() == 1 ? found.front() : -1;
  }
  pid_t Held(const std::string& but) const {
    for (const pid_t pid : Processes(daemon_.state_dir(), "qemu-system")) {
      if (pid != VmmOf(but)) return pid;
    }
    return -1;
  }
  static std::string Status(pid_t pid, const std::string& field) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(file, line);) {
      if (!line.starts_with(field + ":\t")) continue;
      return line.substr(field.size() + 2);
    }
    return "";
  }
};

TEST_F(HeldTest, ForksShareNothingThatMustDiffer) {
  Await("fork");
  ExpectThatNothingIsShared("fork");
}

TEST_F(HeldTest, AForkIsAJailOfItsOwn) {
  Await("fork");
  const std::string id = Create();
  const pid_t pid = VmmOf(id);
  ASSERT_GT(pid, 0);
  EXPECT_THAT(Status(pid, "NSpid"), testing::EndsWith("\t1")) << "a process namespace of its own";
  EXPECT_EQ(Status(pid, "CapEff"), "0000000000000000");
  EXPECT_EQ(Status(pid, "NoNewPrivs"), "1");
  EXPECT_EQ(Status(pid, "Seccomp"), "2");
  if (geteuid() == 0) {
    EXPECT_THAT(Status(pid, "Uid"), testing::Not(testing::StartsWith("0\t")));
    const std::string root = "/proc/" + std::to_string(pid) + "/root";
    EXPECT_TRUE(fs::is_empty(root)) << "its root";
    const pid_t held = Held(id);
    ASSERT_GT(held, 0);
    for (const char* name : {"user", "mnt", "pid", "net", "ipc", "uts"}) {
      std::set<std::string> spaces;
      for (const pid_t one : {pid, held, getpid()}) {
        spaces.insert(fs::read_symlink("/proc/" + std::to_string(one) + "/ns/" + name));
      }
      // The held machine has no process namespace: its forks would end with it.
      EXPECT_EQ(spaces.size(), std::string_view(name) == "pid" ? 2U : 3U) << name;
    }
  }
  Remove(id);
}

TEST_F(HeldTest, AForkOutlivesTheHeldMachineAndTheDaemon) {
  Await("fork");
  const std::string id = Create();
  ASSERT_EQ(Origin(id), "fork");
  const pid_t held = Held(id);
  ASSERT_GT(held, 0);
  kill(held, SIGKILL);
  EXPECT_EQ(Run(id, "echo still here"), "still here\n");
  const std::string next = Create();
  EXPECT_EQ(Run(next, "echo works"), "works\n");
  daemon_.CrashAndRestart();
  EXPECT_EQ(Run(id, "echo found again"), "found again\n");
  Remove(id);
  Remove(next);
}

TEST_F(HeldTest, AForkEndsWithItsWarden) {
  Await("fork");
  const std::string id = Create();
  const pid_t vmm = VmmOf(id);
  ASSERT_GT(vmm, 0);
  const auto wardens = Processes(id, "cleanroom-warden");
  ASSERT_EQ(wardens.size(), 1U);
  kill(vmm, SIGSTOP);
  kill(wardens.front(), SIGKILL);
  EXPECT_TRUE(Eventually([&] { return VmmOf(id) < 0; }));
  EXPECT_TRUE(Eventually([&] {
    return daemon_.Cli({"sandbox", "inspect", id}).out.find("FAILED") != std::string::npos;
  }));
}

TEST_F(SpareTest, EndsWithItsDaemon) {
  Await("spare");
  ASSERT_TRUE(Eventually([&] { return Waiting(); }));
  daemon_.CrashAndRestart();
  EXPECT_TRUE(daemon_.Leftovers().empty()) << daemon_.Leftovers().front();
  EXPECT_EQ(Folders(), 0U);
}

}  // namespace
}  // namespace cleanroom::test
