// What the processes that meet hostile bytes have left: looked at from outside, in a live sandbox.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
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

class JailTest : public testing::Test {
 protected:
  void SetUp() override {
    const Outcome created = daemon_.Cli({"sandbox", "create", "--image", BaseImage(daemon_)});
    ASSERT_EQ(created.code, 0) << created.err;
    sandbox_ = created.out.substr(0, created.out.find('\n'));
    processes_ = ProcessesOf(sandbox_);
    ASSERT_EQ(processes_.size(), 2U);
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
    EXPECT_NE(fs::read_symlink(proc + "/ns/user"), fs::read_symlink("/proc/self/ns/user")) << what;
    EXPECT_NE(fs::read_symlink(proc + "/ns/mnt"), fs::read_symlink("/proc/self/ns/mnt")) << what;
    const std::string environment = Read(proc + "/environ");
    EXPECT_EQ(environment.find("HOME="), std::string::npos) << what << ": " << environment;
    EXPECT_EQ(environment.find("CLEANROOM"), std::string::npos) << what << ": " << environment;
  }
}

TEST_F(JailTest, NeitherSeesTheHostsFiles) {
  ASSERT_EQ(access("/etc/passwd", R_OK), 0) << "the probe itself fails";
  if (geteuid() != 0) GTEST_SKIP() << "only root looks into another process's root";
  const std::string state = daemon_.state_dir();
  for (const auto& [what, proc] : processes_) {
    const std::string root = proc + "/root";
    // The probe works: this is there.
    EXPECT_EQ(access((root + "/usr/bin").c_str(), F_OK), 0) << what;
    EXPECT_EQ(access((root + state + "/sandboxes/" + sandbox_ + "/disk.img").c_str(), F_OK), 0)
        << what;
    for (const std::string& path :
         {std::string("/etc/passwd"), std::string("/etc/shadow"), std::string("/root"),
          std::string("/home"), std::string("/proc/self"), std::string("/sys/kernel"),
          std::string("/dev/net"), std::string("/run"), std::string("/var"), daemon_.socket(),
          state + "/records.db"}) {
      EXPECT_NE(access((root + path).c_str(), F_OK), 0) << what << " sees " << path;
    }
  }
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
