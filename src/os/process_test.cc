#include "os/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>

#include "base/testing/result_matchers.h"
#include "os/file.h"
#include "os/socket.h"

namespace cleanroom::os {
namespace {

using std::chrono::milliseconds;

TEST(ProcessTest, RunCapturesBothStreamsAndTheCode) {
  auto output = os::Run({"sh", "-c", "cat; echo err >&2; exit 3"}, {.input = "in"});
  ASSERT_THAT(output, IsOk());
  EXPECT_EQ(output->out, "in");
  EXPECT_EQ(output->err, "err\n");
  EXPECT_EQ(output->status, (ExitStatus{ExitStatus::Kind::kExited, 3}));
}

TEST(ProcessTest, RunMovesMoreThanAPipeHoldsAndBoundsOutput) {
  const std::string big(3 << 20, 'x');
  auto output = os::Run({"cat"}, {.input = big, .max_output = 1 << 20});
  ASSERT_TRUE(output);
  EXPECT_EQ(output->out.size(), 1U << 20);
  auto unread = os::Run({"true"}, {.input = big});
  ASSERT_THAT(unread, IsOk());
  EXPECT_TRUE(unread->status.ok());
}

TEST(ProcessTest, SignalsAreAtTheirDefaultsButTheIgnoredOnes) {
  const std::vector<std::string> script = {"sh", "-c", "kill -XFSZ $$; echo alive"};
  EXPECT_EQ(os::Run(script)->out, "");
  RunOptions ignoring;
  ignoring.spawn.ignored_signals = {SIGXFSZ};
  EXPECT_EQ(os::Run(script, ignoring)->out, "alive\n");
}

TEST(ProcessTest, RunKillsAtTheTimeout) {
  auto output = os::Run({"sleep", "100"}, {.timeout = milliseconds(50)});
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().code(), ErrorCode::kDeadlineExceeded);
}

TEST(ProcessTest, ErrorsBeforeExecAreReturned) {
  EXPECT_EQ(Process::Spawn({"/nonexistent/x"}, {}).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(Process::Spawn({"no-such-program-here"}, {}).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(Process::Spawn({"/etc/passwd"}, {}).error().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(Process::Spawn({"/bin/true"}, {.cwd = "/nonexistent"}).error().code(),
            ErrorCode::kNotFound);
}

TEST(ProcessTest, PassesExactlyTheMappedDescriptors) {
  auto pair = SocketPair();
  ASSERT_TRUE(pair);
  const UniqueFd leaked(fcntl(pair->first.get(), F_DUPFD, 100));  // not close-on-exec
  // Targets that collide with the sources' own numbers, crosswise.
  const int a = pair->first.get();
  const int b = pair->second.get();
  auto output = os::Run({"sh", "-c", "ls /proc/self/fd; echo hi >&" + std::to_string(b)},
                        {.spawn = {.fds = {{b, a}, {a, b}}}});
  ASSERT_THAT(output, IsOk());
  char buffer[8] = {};
  ASSERT_EQ(read(b, buffer, sizeof buffer), 3);  // written to a's end, so it arrives at b
  EXPECT_STREQ(buffer, "hi\n");
  EXPECT_EQ(output->out.find(std::to_string(leaked.get()) + "\n"), std::string::npos)
      << output->out;
}

TEST(ProcessTest, EnvironmentDirectorySessionAndSignals) {
  signal(SIGPIPE, SIG_IGN);
  auto output = os::Run(
      {"sh", "-c",
       "echo $A$HOME; pwd; grep SigIgn /proc/self/status; "
       "exec cut -d' ' -f1,6 /proc/self/stat"},
      {.spawn = {.env = {{"A=1", "PATH=/usr/bin:/bin"}}, .cwd = "/usr", .new_session = true}});
  signal(SIGPIPE, SIG_DFL);
  ASSERT_TRUE(output);
  EXPECT_EQ(output->out.substr(0, 7), "1\n/usr\n");
  const std::string last = output->out.substr(output->out.rfind('\n', output->out.size() - 2) + 1);
  EXPECT_EQ(last.substr(0, last.find(' ')) + "\n", last.substr(last.find(' ') + 1))
      << "the session is not the process's own: " << last;
  EXPECT_NE(output->out.find("SigIgn:\t0000000000000000"), std::string::npos) << output->out;
}

TEST(ProcessTest, PidfdTellsTheEndAndWaitIsRepeatable) {
  auto child = Process::Spawn({"sleep", "100"}, {});
  ASSERT_TRUE(child);
  EXPECT_FALSE(*child->WaitFor(milliseconds(0)));
  ASSERT_TRUE(child->Kill(SIGTERM));
  pollfd watched{child->pidfd(), POLLIN, 0};
  ASSERT_EQ(poll(&watched, 1, 10'000), 1);
  const ExitStatus killed{ExitStatus::Kind::kSignaled, SIGTERM};
  EXPECT_EQ(*child->Wait(), killed);
  EXPECT_EQ(*child->Wait(), killed);
  EXPECT_EQ(killed.ShellCode(), 143);
  EXPECT_EQ(killed.ToString(), "was ended by signal 15 (Terminated)");
  EXPECT_TRUE(child->Kill(SIGTERM));
}

TEST(ProcessTest, DroppingAChildEndsIt) {
  pid_t pid = -1;
  {
    auto child = Process::Spawn({"sleep", "100"}, {});
    ASSERT_TRUE(child);
    pid = child->pid();
  }
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(ProcessTest, DiesWithItsParent) {
  // A shell cannot set it: run the parent as a forked copy of this test.
  auto pair = SocketPair();
  ASSERT_TRUE(pair);
  const pid_t parent = fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    auto child = Process::Spawn({"sleep", "100"}, {.parent_death_signal = SIGKILL});
    const pid_t pid = child ? child->pid() : -1;
    (void)!write(pair->second.get(), &pid, sizeof pid);
    pause();
  }
  pid_t grandchild = -1;
  ASSERT_EQ(read(pair->first.get(), &grandchild, sizeof grandchild), ssize_t{sizeof grandchild});
  ASSERT_GT(grandchild, 0);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  kill(parent, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(parent, &status, 0), parent);
  ASSERT_EQ(waitpid(grandchild, &status, 0), grandchild);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST(ProcessTest, RunsAsAnotherUser) {
  if (getuid() != 0) GTEST_SKIP() << "changing the user needs root";
  auto output = os::Run({"id", "-u"}, {.spawn = {.credentials = Credentials{65534, 65534, {}}}});
  ASSERT_THAT(output, IsOk());
  EXPECT_EQ(output->out, "65534\n");
}

TEST(ProcessTest, LivesInNamespacesOfItsOwn) {
  const std::string script =
      "readlink /proc/self/ns/user /proc/self/ns/net /proc/self/ns/ipc; id -u; id -g;"
      "grep Cap.*: /proc/self/status; tail -n +3 /proc/net/dev | cut -d: -f1; unshare -U true";
  auto shared = os::Run({"sh", "-c", script});
  ASSERT_TRUE(shared);
  auto own = os::Run({"sh", "-c", script},
                     {.spawn = {.new_namespaces = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC}});
  ASSERT_THAT(own, IsOk());
  auto lines = [](const std::string& text) {
    std::vector<std::string> out;
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      out.push_back(text.substr(at, end - at));
      at = end + 1;
    }
    return out;
  };
  const auto before = lines(shared->out);
  const auto after = lines(own->out);
  ASSERT_EQ(after.size(), 11U) << own->out;
  for (size_t i = 0; i < 3; ++i) EXPECT_NE(before[i], after[i]);
  EXPECT_EQ(after[3], "65534");
  EXPECT_EQ(after[4], "65534");
  // Inherited, permitted, effective; the bounding set bounds what it cannot gain; ambient.
  for (const size_t i : {5, 6, 7, 9})
    EXPECT_TRUE(after[i].ends_with("0000000000000000")) << after[i];
  EXPECT_EQ(after[10], "    lo");
  EXPECT_FALSE(own->status.ok());  // no further user namespace

  EXPECT_EQ(Process::Spawn({"true"}, {.new_namespaces = CLONE_NEWNET}).error().code(),
            ErrorCode::kInvalidArgument);
}

TEST(ProcessTest, IsTheFirstOfItsOwnNamespace) {
  auto output =
      os::Run({"sh", "-c", "echo $$ $PPID"}, {.spawn = {.new_namespaces = kChildNamespaces}});
  ASSERT_THAT(output, IsOk());
  EXPECT_EQ(output->out, "1 0\n");
}

TEST(ProcessTest, HasARootAndLimitsOfItsOwn) {
  auto folder = TempDir::Create();
  ASSERT_TRUE(folder);
  SpawnOptions options{
      .new_namespaces = kChildNamespaces, .root = folder->path(), .limits = {{RLIMIT_NOFILE, 64}}};
  auto nothing = Process::Spawn({"/bin/sh"}, options);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code(), ErrorCode::kNotFound);

  options.root = "";
  auto output = os::Run({"sh", "-c", "ulimit -n; ulimit -Hn"}, {.spawn = options});
  ASSERT_THAT(output, IsOk());
  EXPECT_EQ(output->out, "64\n64\n");
  EXPECT_EQ(Process::Spawn({"true"}, {.root = "/usr"}).error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace cleanroom::os
