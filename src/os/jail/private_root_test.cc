#include "os/jail/private_root.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "os/file.h"
#include "os/process.h"
#include "os/socket.h"

namespace cleanroom::os {
namespace {

namespace fs = std::filesystem;

// With its own ids mapped to themselves: without, nothing could be made in it.
bool EnterUserNamespace(uid_t uid) {
  const gid_t gid = getegid();
  // A process that changed its user may not write its own /proc files otherwise.
  if (prctl(PR_SET_DUMPABLE, 1) != 0) return false;
  if (unshare(CLONE_NEWUSER) != 0) return false;
  auto write = [](const char* path, const std::string& text) {
    auto file = Open(path, O_WRONLY);
    return file && WriteAll(file->get(), text, path);
  };
  return write("/proc/self/setgroups", "deny") &&
         write("/proc/self/uid_map", fmt::format("{0} {0} 1", uid)) &&
         write("/proc/self/gid_map", fmt::format("{0} {0} 1", gid));
}

// Runs `body` in a forked child inside a user namespace of its own, for there is no way back.
// `body` returns what went wrong, or nothing.
std::string InNamespace(uid_t uid, const std::function<std::string()>& body) {
  auto pair = SocketPair();
  const pid_t pid = fork();
  if (pid == 0) {
    pair->first.reset();
    std::string text;
    if (uid != getuid() && (setgroups(0, nullptr) != 0 || setresgid(uid, uid, uid) != 0 ||
                            setresuid(uid, uid, uid) != 0)) {
      text = "cannot become another user";
    } else if (!EnterUserNamespace(uid)) {
      text = "no user namespace";
    } else {
      text = body();
    }
    (void)WriteAll(pair->second.get(), text, "pipe");
    _exit(0);
  }
  pair->second.reset();
  std::string text = ReadAll(pair->first.get(), 1 << 20, "pipe").value_or("no answer");
  int status = 0;
  waitpid(pid, &status, 0);
  if (status != 0) text += fmt::format(" [status {}]", status);
  return text;
}

class PrivateRootTest : public testing::TestWithParam<uid_t> {
 protected:
  void SetUp() override {
    if (GetParam() != getuid() && getuid() != 0) GTEST_SKIP() << "only root becomes another user";
    char name[] = "/tmp/private-root-XXXXXX";
    folder_ = mkdtemp(name);
    fs::create_directory(folder_ / "mine");
    ASSERT_TRUE(WriteFileAtomic((folder_ / "data").string(), "data").has_value());
    ASSERT_TRUE(WriteFileAtomic((folder_ / "secret").string(), "secret").has_value());
    ASSERT_EQ(chmod(folder_.c_str(), 0755), 0);
    ASSERT_EQ(chmod((folder_ / "data").c_str(), 0666), 0);
    ASSERT_EQ(chmod((folder_ / "secret").c_str(), 0644), 0);
    ASSERT_EQ(chown((folder_ / "mine").c_str(), GetParam(), GetParam()), 0);
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  fs::path folder_;
};

TEST_P(PrivateRootTest, OnlyWhatIsNamedIsThere) {
  const std::string data = folder_ / "data";
  const std::string secret = folder_ / "secret";
  const std::string mine = folder_ / "mine";
  const std::string problem = InNamespace(GetParam(), [&]() -> std::string {
    if (access(secret.c_str(), R_OK) != 0) return "the probe itself fails";
    if (access("/etc/passwd", R_OK) != 0) return "the probe itself fails";
    PrivateRootConfig config = ProgramsOnly();
    config.read_only.push_back(data);
    config.writable.push_back(mine);
    if (auto entered = EnterPrivateRoot(config); !entered) return entered.error().ToString();
    if (access(data.c_str(), R_OK) != 0) return "what was named is not there";
    for (const char* path : {secret.c_str(), "/etc/passwd", "/etc/shadow", "/proc/self", "/root",
                             "/run", "/dev/net/tun", "/home", "/sys"}) {
      if (access(path, F_OK) == 0) return fmt::format("{} is there", path);
    }
    if (open(data.c_str(), O_WRONLY) >= 0 || errno != EROFS) return "what is read-only was opened";
    if (open("/new", O_WRONLY | O_CREAT, 0600) >= 0 || errno != EROFS) return "/ is writable";
    const UniqueFd mine_file(open((mine + "/new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    if (!mine_file) return "what is writable was not";
    if (!UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC))) return "no /dev/null";
    return "";
  });
  EXPECT_EQ(problem, "");
}

TEST_P(PrivateRootTest, ProgramsOfTheDistributionRun) {
  const std::string problem = InNamespace(GetParam(), []() -> std::string {
    if (auto entered = EnterPrivateRoot(ProgramsOnly()); !entered) {
      return entered.error().ToString();
    }
    auto output = os::Run({"/bin/ls", "/"});
    if (!output) return output.error().ToString();
    if (!output->status.ok()) return output->err;
    if (output->out.find("usr") == std::string::npos) return output->out;
    return output->out.find("root") == std::string::npos ? "" : "/root is there";
  });
  EXPECT_EQ(problem, "");
}

INSTANTIATE_TEST_SUITE_P(Users, PrivateRootTest, testing::Values(getuid(), 65534U),
                         [](const auto& test) {
                           return test.param == getuid() ? std::string("Self")
                                                         : std::string("Nobody");
                         });

TEST(PrivateRootPlainTest, WithoutAUserNamespaceOfItsOwnItSaysSo) {
  EXPECT_EQ(EnterPrivateRoot({.read_only = {"usr"}, .writable = {}, .devices = {}}).error().code(),
            ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace cleanroom::os
