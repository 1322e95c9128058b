// What the processes that meet hostile bytes have left: looked at from outside, in a live sandbox.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "os/file.h"
#include "support/daemon.h"
#include "support/program.h"

namespace cleanroom::test {
namespace {

namespace fs = std::filesystem;

struct Found {
  std::string what;  // "warden" or "vmm"
  std::string proc;  // /proc/PID
};

std::string Read(const std::string& path) { return os::ReadFile(path, 1 << 20).value_or(""); }

// The warden and the machine of a sandbox, by their command lines.
std::vector<Found> ProcessesOf(const std::string& sandbox) {
  std::vector<Found> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string proc = entry.path();
    const std::string line = Read(proc + "/cmdline");
    if (line.find(sandbox) == std::string::npos) continue;
    const std::string program = fs::path(line.substr(0, line.find('\0'))).filename();
    if (program == "cleanroom-warden") found.push_back({"warden", proc});
    if (program == "qemu-system-x86_64") found.push_back({"vmm", proc});
  }
  return found;
}

std::string Namespace(const std::string& proc, const std::string& kind) {
  return fs::read_symlink(proc + "/ns/" + kind).string();
}

// The effective user, as a number.
std::string UserOf(const std::string& proc) {
  std::istringstream status(Read(proc + "/status"));
  std::string word;
  while (status >> word && word != "Uid:") {
  }
  status >> word >> word;
  return word;
}

class JailTest : public testing::Test {
 protected:
  void SetUp() override {
    sandbox_ = Create();
    processes_ = ProcessesOf(sandbox_);
    ASSERT_EQ(processes_.size(), 2U);
  }

  std::string Create() {
    const Outcome created = daemon_.Cli({"sandbox", "create", "--image", BaseImage(daemon_)});
    EXPECT_EQ(created.code, 0) << created.err;
    return created.out.substr(0, created.out.find('\n'));
  }
  std::string ProcOf(const std::string& what) const {
    return std::ranges::find(processes_, what, &Found::what)->proc;
  }

  Daemon daemon_;
  std::string sandbox_;
  std::vector<Found> processes_;
};

TEST_F(JailTest, NeitherHasPrivilegesOrSecrets) {
  for (const auto& [what, proc] : processes_) {
    const std::string status = Read(proc + "/status");
    // The bounding set of the VMM's own user namespace is full, and of no use: it starts nothing,
    // and no_new_privs keeps execve from giving anything.
    if (what == "warden") {
      EXPECT_NE(status.find("CapBnd:\t0000000000000000"), std::string::npos) << status;
    }
    for (const char* line :
         {"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
          "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"}) {
      EXPECT_NE(status.find(line), std::string::npos) << what << ": " << line << "\n" << status;
    }
    for (const char* kind : {"user", "mnt"}) {
      EXPECT_NE(Namespace(proc, kind), Namespace("/proc/self", kind)) << what;
    }
    const std::string environment = Read(proc + "/environ");
    EXPECT_EQ(environment.find("HOME="), std::string::npos) << what << ": " << environment;
    EXPECT_EQ(environment.find("CLEANROOM"), std::string::npos) << what << ": " << environment;
  }
}

TEST_F(JailTest, EachSandboxHasAUserOfItsOwn) {
  if (geteuid() != 0) {
    for (const auto& [what, proc] : processes_) EXPECT_EQ(UserOf(proc), std::to_string(geteuid()));
    return;
  }
  const std::string second = Create();
  std::set<std::string> users;
  for (const std::string& sandbox : {sandbox_, second}) {
    std::set<std::string> own;
    for (const auto& [what, proc] : ProcessesOf(sandbox)) own.insert(UserOf(proc));
    ASSERT_EQ(own.size(), 1U) << "the warden and the machine of one sandbox";
    users.insert(*own.begin());
  }
  EXPECT_EQ(users.size(), 2U);
  EXPECT_FALSE(users.contains("0"));
}

TEST_F(JailTest, TheMachineHasNamespacesOfItsOwn) {
  const std::string warden = ProcOf("warden");
  const std::string vmm = ProcOf("vmm");
  for (const char* kind : {"user", "mnt", "pid", "net", "ipc", "uts"}) {
    EXPECT_NE(Namespace(vmm, kind), Namespace("/proc/self", kind)) << kind;
    EXPECT_NE(Namespace(vmm, kind), Namespace(warden, kind)) << kind;
  }
  EXPECT_NE(Read(vmm + "/status").find("\t1\n", Read(vmm + "/status").find("NSpid:")),
            std::string::npos)
      << "it is the first process of its own namespace";
}

TEST_F(JailTest, EachSeesOnlyWhatItNeeds) {
  ASSERT_EQ(access("/etc/passwd", R_OK), 0) << "the probe itself fails";
  if (geteuid() != 0) GTEST_SKIP() << "only root looks into another process's root";
  const std::string state = daemon_.state_dir();
  const std::string folder = state + "/sandboxes/" + sandbox_;
  const std::vector<std::string> nobodys = {
      "/etc/passwd", "/etc/shadow", "/root", "/home",          "/proc/self",         "/sys/kernel",
      "/dev/net",    "/run",        "/var",  daemon_.socket(), state + "/records.db"};
  const std::map<std::string, std::vector<std::string>> seen = {
      {"warden", {"/dev/null", folder + "/disk.img", folder + "/warden.log"}},
      {"vmm", {"/dev/null", folder + "/disk.img", "/usr/bin", "/etc/ld.so.cache"}}};
  const std::map<std::string, std::vector<std::string>> unseen = {
      {"warden", {"/usr/bin", "/bin", "/lib"}},
      {"vmm", {folder + "/warden.log", folder + "/warden.sock", folder + "/executions"}}};
  for (const auto& [what, proc] : processes_) {
    const std::string root = proc + "/root";
    for (const std::string& path : seen.at(what)) {
      EXPECT_EQ(access((root + path).c_str(), F_OK), 0) << what << " does not see " << path;
    }
    for (const auto& paths : {nobodys, unseen.at(what)}) {
      for (const std::string& path : paths) {
        EXPECT_NE(access((root + path).c_str(), F_OK), 0) << what << " sees " << path;
      }
    }
  }
}

// The lines of doctor --json that say something of the jail.
TEST_F(JailTest, TheDoctorReportsEachLayer) {
  const Outcome doctor = daemon_.Cli({"doctor", "--json"});
  const auto report = nlohmann::json::parse(doctor.out, nullptr, false);
  ASSERT_TRUE(report.is_object()) << doctor.out << doctor.err;
  std::map<std::string, std::string> layers;
  for (const auto& check : report.value("checks", nlohmann::json::array())) {
    const std::string name = check.value("name", "");
    if (!name.starts_with("jail")) continue;
    layers[name] = check.value("status", "");
    EXPECT_EQ(layers[name] == "ok", check.value("remedy", "").empty()) << check;
  }
  for (const char* name : {"jail-user", "jail-privileges", "jail-files", "jail-system-calls",
                           "jail-network", "jail-machine"}) {
    EXPECT_EQ(layers[name], "ok") << name << "\n" << doctor.out;
  }
  EXPECT_TRUE(layers.contains("jail-cgroup")) << doctor.out;
}

TEST_F(JailTest, TheSandboxIsInItsGroups) {
  // By /proc/PID/cgroup: a line for each tree, of which ours end with the sandbox's id.
  const auto groups = [](const std::string& proc) {
    std::set<std::string> found;
    std::istringstream lines(Read(proc + "/cgroup"));
    for (std::string line; std::getline(lines, line);) {
      if (line.find("/cleanroom-") != std::string::npos) found.insert(line);
    }
    return found;
  };
  const Outcome doctor = daemon_.Cli({"doctor"});
  if (doctor.out.find("memory and processes of a sandbox are limited") == std::string::npos) {
    GTEST_SKIP() << "no control groups: " << doctor.out;
  }
  const auto warden = groups(ProcOf("warden"));
  ASSERT_FALSE(warden.empty()) << Read(ProcOf("warden") + "/cgroup");
  for (const std::string& line : warden) EXPECT_TRUE(line.ends_with("/" + sandbox_)) << line;
  EXPECT_EQ(groups(ProcOf("vmm")), warden);
  const auto there = [&] {
    size_t count = 0;
    for (const char* tree : {"pids", "memory", "unified", ""}) {
      std::error_code error;
      for (fs::recursive_directory_iterator
               it(fs::path("/sys/fs/cgroup") / tree, fs::directory_options::skip_permission_denied,
                  error),
           end;
           !error && it != end; it.increment(error)) {
        if (it->path().filename() == sandbox_) ++count;
      }
    }
    return count;
  };
  EXPECT_GT(there(), 0U);
  const Outcome removed = daemon_.Cli({"sandbox", "rm", sandbox_});
  EXPECT_EQ(removed.code, 0) << removed.err;
  EXPECT_EQ(there(), 0U);
}

TEST_F(JailTest, ACommandThatHasEndedKeepsNothingOpenInTheWarden) {
  const auto open_files = [&] {
    size_t count = 0;
    for (const auto& entry : fs::directory_iterator(ProcOf("warden") + "/fd")) {
      std::error_code error;
      // The connections of clients come and go.
      if (fs::read_symlink(entry, error).string().starts_with("/")) ++count;
    }
    return count;
  };
  const size_t before = open_files();
  for (int i = 0; i < 5; ++i) {
    const Outcome ran = daemon_.Cli({"exec", "--in", sandbox_, "-n", "--", "echo", "said"});
    EXPECT_EQ(ran.out, "said\n") << ran.err;
  }
  // Whoever follows a command to its end has its record open for a moment longer.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (open_files() > before && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(open_files(), before);
}

// This host may have its controllers in version 1. The guest's kernel has them in version 2, so
// there the tests of control groups run too, in a group that is handed to them as systemd hands one
// to a service.
TEST_F(JailTest, ControlGroupsOfVersion2LimitAsWell) {
  const std::string program = Program("os_cgroup_test");
  const Outcome packed = test::Run({"sh", "-c",
                                    "tar -ch -C / --transform 's,.*/,groups/,' $(ldd " + program +
                                        " | grep -o '/[^ ]*') " + program});
  ASSERT_EQ(packed.code, 0) << packed.err;
  const Outcome unpacked =
      daemon_.Cli({"exec", "--in", sandbox_, "--", "tar", "-x", "-C", "/root"}, packed.out);
  ASSERT_EQ(unpacked.code, 0) << unpacked.err;
  const std::string script = R"(
    echo '+memory +pids' >/sys/fs/cgroup/cgroup.subtree_control &&
    mkdir /sys/fs/cgroup/service && echo $$ >/sys/fs/cgroup/service/cgroup.procs &&
    cd /root/groups && export LD_LIBRARY_PATH=. && exec ./ld-linux-x86-64.so.2 ./os_cgroup_test)";
  const Outcome tested = daemon_.Cli({"exec", "--in", sandbox_, "-n", "--", "sh", "-c", script});
  EXPECT_EQ(tested.code, 0) << tested.out << tested.err;
  EXPECT_NE(tested.out.find("[  PASSED  ]"), std::string::npos) << tested.out;
  EXPECT_EQ(tested.out.find("SKIPPED"), std::string::npos) << tested.out;
}

TEST_F(JailTest, TheMachineHasNoNetworkButItsTap) {
  for (const auto& [what, proc] : processes_) {
    if (what != "vmm") continue;
    EXPECT_NE(fs::read_symlink(proc + "/ns/net"), fs::read_symlink("/proc/self/ns/net"));
    const std::string devices = Read(proc + "/net/dev");
    EXPECT_EQ(std::count(devices.begin(), devices.end(), '\n'), 3) << devices;  // two of a heading
  }
}

}  // namespace
}  // namespace cleanroom::test
