#include "guest/exec/spawn.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "guest/files/root.h"
#include "os/file.h"

namespace cleanroom::guest {
namespace {

struct Ran {
  int status = -1;
  std::string out;
};

class SpawnTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = os::TempDir::Create();
    ASSERT_TRUE(made);
    folder_.emplace(std::move(*made));
    request_.env = {"PATH=/usr/bin:/bin", "GREETING=hello"};
    request_.change_user = geteuid() == 0;
  }

  // Runs the request's command to its end.
  Ran Run(std::vector<std::string> argv) {
    request_.argv = std::move(argv);
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const os::UniqueFd read_end(ends[0]);
    os::UniqueFd write_end(ends[1]);
    const os::UniqueFd null_fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    request_.stdin_fd = null_fd.get();
    request_.stdout_fd = request_.stderr_fd = write_end.get();
    const auto pid = Spawn(request_);
    EXPECT_TRUE(pid) << pid.error().message;
    if (!pid) return {};
    write_end.reset();
    Ran ran;
    ran.out = os::ReadAll(read_end.get(), 1 << 20, "output").value();
    EXPECT_EQ(waitpid(*pid, &ran.status, 0), *pid);
    return ran;
  }
  SpawnFailure Fail(std::vector<std::string> argv) {
    request_.argv = std::move(argv);
    request_.stdin_fd = request_.stdout_fd = request_.stderr_fd = 2;
    const auto pid = Spawn(request_);
    EXPECT_FALSE(pid);
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a failed child was left";
    return pid ? SpawnFailure{0, ""} : pid.error();
  }
  void Write(const std::string& name, const std::string& contents, mode_t mode) {
    ASSERT_TRUE(os::WriteFileAtomic(folder_->path() + "/" + name, contents, mode));
  }

  std::optional<os::TempDir> folder_;
  SpawnRequest request_;
};

TEST_F(SpawnTest, RunsWithItsEnvironmentAndCode) {
  const Ran ran = Run({"sh", "-c", "echo $GREETING $0 $#; umask; exit 7", "a", "b c"});
  EXPECT_EQ(ran.out, "hello a 1\n0022\n");
  EXPECT_EQ(WEXITSTATUS(ran.status), 7);
}

TEST_F(SpawnTest, LeadsASessionAndInheritsNothing) {
  const os::UniqueFd leaked(fcntl(2, F_DUPFD, 50));  // not close-on-exec
  const Ran ran = Run({"sh", "-c",
                       "ls /proc/self/fd | wc -l; ps -o sid=,pgid= -p $$ | "
                       "awk -v p=$$ '{print $1 == p, $2 == p}'"});
  // ls has the directory open, besides 0, 1 and 2.
  EXPECT_EQ(ran.out, "4\n1 1\n");
}

TEST_F(SpawnTest, SignalsAreAtTheirDefaults) {
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  signal(SIGPIPE, SIG_IGN);
  const Ran ran = Run({"sh", "-c", "grep '^SigBlk' /proc/self/status; kill -PIPE $$"});
  EXPECT_EQ(ran.out, "SigBlk:\t0000000000000000\n");
  EXPECT_TRUE(WIFSIGNALED(ran.status) && WTERMSIG(ran.status) == SIGPIPE);
  signal(SIGPIPE, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &blocked, nullptr);
}

TEST_F(SpawnTest, WorkdirAndPathAreTheCommands) {
  request_.workdir = folder_->path();
  Write("here", "#!/bin/sh\npwd\n", 0755);
  EXPECT_EQ(Run({"./here"}).out, folder_->path() + "\n");
  // An empty element of PATH is the working directory.
  request_.env = {"PATH=/nonexistent:"};
  EXPECT_EQ(Run({"here"}).out, folder_->path() + "\n");
}

TEST_F(SpawnTest, MissingProgramsAre127) {
  EXPECT_EQ(Fail({"no-such-program"}).exit_code, 127);
  EXPECT_EQ(Fail({"/no/such/program"}).exit_code, 127);
  EXPECT_EQ(Fail({""}).exit_code, 127);
  EXPECT_EQ(Fail({}).exit_code, 127);
  EXPECT_NE(Fail({"no-such-program"}).message.find("/usr/bin:/bin"), std::string::npos);
}

TEST_F(SpawnTest, ProgramsThatCannotRunAre126) {
  Write("plain", "text", 0644);
  Write("format", "\x01\x02\x03", 0755);
  EXPECT_EQ(Fail({folder_->path() + "/plain"}).exit_code, 126);
  EXPECT_EQ(Fail({folder_->path() + "/format"}).exit_code, 126);
  EXPECT_EQ(Fail({folder_->path()}).exit_code, 126);
  EXPECT_EQ(Fail({"true", std::string(4 << 20, 'x')}).exit_code, 126);
  request_.workdir = "/no/such/folder";
  const SpawnFailure failure = Fail({"true"});
  EXPECT_EQ(failure.exit_code, 126);
  EXPECT_NE(failure.message.find("/no/such/folder"), std::string::npos);
}

TEST_F(SpawnTest, AnUnusableMatchYieldsToALaterOne) {
  Write("true", "not executable", 0644);
  request_.env = {"PATH=" + folder_->path() + ":/usr/bin:/bin"};
  EXPECT_EQ(Run({"true"}).status, 0);
  request_.env = {"PATH=" + folder_->path()};
  EXPECT_EQ(Fail({"true"}).exit_code, 126);
}

TEST_F(SpawnTest, BecomesTheUserInsideTheRoot) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const auto root = Root::Open("/");
  ASSERT_TRUE(root);
  request_.root_fd = root->fd();
  request_.user = {.uid = 1234, .gid = 2345, .groups = {7, 8}};
  const Ran ran = Run({"sh", "-c", "id -u; id -g; id -G"});
  EXPECT_EQ(ran.out, "1234\n2345\n2345 7 8\n");
  // The working directory may be one that only root may enter, but the user gets no further.
  ASSERT_EQ(chmod(folder_->path().c_str(), 0700), 0);
  request_.workdir = folder_->path();
  EXPECT_EQ(Run({"sh", "-c", "id -u; ls . 2>/dev/null || echo refused"}).out, "1234\nrefused\n");
}

TEST_F(SpawnTest, ChangesTheRoot) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_TRUE(os::MakeDirs(folder_->path() + "/bin", 0755));
  ASSERT_EQ(std::system(("cp /usr/bin/busybox " + folder_->path() + "/bin/ls").c_str()), 0);
  const auto root = Root::Open(folder_->path());
  ASSERT_TRUE(root);
  request_.root_fd = root->fd();
  EXPECT_EQ(Run({"ls", "/"}).out, "bin\n");
  EXPECT_EQ(Fail({"sh"}).exit_code, 127);
}

}  // namespace
}  // namespace cleanroom::guest
