#include "os/seccomp/filter.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>
#include <thread>

#include "os/process.h"

namespace cleanroom::os {
namespace {

// A filter stays: each attempt runs in a child. The errno it ends with.
int InChild(const std::function<int()>& attempt) {
  const pid_t child = fork();
  if (child == 0) _exit(attempt());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

int ErrnoOf(long result) { return result < 0 ? errno : 0; }

struct Call {
  const char* name;
  std::function<int()> attempt;
};

int FreeSocket(int family) {
  const int fd = socket(family, SOCK_DGRAM, 0);
  return fd < 0 ? errno : (close(fd), 0);
}

// Each works without the filter, or fails with another error.
std::vector<Call> DeniedCalls() {
  return {
      {"personality", [] { return ErrnoOf(personality(0xffffffff)); }},
      {"netlink", [] { return FreeSocket(AF_NETLINK); }},
      {"process_vm_readv",
       [] { return ErrnoOf(syscall(SYS_process_vm_readv, getpid(), nullptr, 0, nullptr, 0, 0)); }},
      {"io_uring_setup", [] { return ErrnoOf(syscall(SYS_io_uring_setup, 0, nullptr)) & ~EINVAL; }},
      {"keyctl", [] { return ErrnoOf(syscall(SYS_keyctl, 0, -3, 0)); }},
      {"unshare", [] { return ErrnoOf(unshare(CLONE_NEWUSER)); }},
      {"clone",
       [] {
         const long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
         if (pid == 0) _exit(0);
         return ErrnoOf(pid);
       }},
      {"clone with all but one",
       [] {
         const int flags = kChildNamespaces & ~CLONE_NEWPID;
         const long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
         if (pid == 0) _exit(0);
         return ErrnoOf(pid);
       }},
      {"kill", [] { return ErrnoOf(kill(getppid(), 0)); }},
      {"tgkill", [] { return ErrnoOf(syscall(SYS_tgkill, getppid(), getppid(), 0)); }},
      {"pidfd_open", [] { return ErrnoOf(syscall(SYS_pidfd_open, getppid(), 0)); }},
      {"clone with one more",
       [] {
         const long pid =
             syscall(SYS_clone, kChildNamespaces | CLONE_NEWCGROUP | SIGCHLD, 0, 0, 0, 0);
         if (pid == 0) _exit(0);
         return ErrnoOf(pid);
       }},
  };
}

TEST(SeccompFilterTest, DeniesWhatIsNotNeeded) {
  for (const Call& call : DeniedCalls()) {
    EXPECT_NE(InChild(call.attempt), EPERM) << call.name << " works without the filter";
    EXPECT_EQ(InChild([&] { return DenyUnneededSyscalls() ? call.attempt() : 255; }), EPERM)
        << call.name;
  }
}

TEST(SeccompFilterTest, LeavesWhatIsNeeded) {
  EXPECT_EQ(InChild([] {
              if (!DenyUnneededSyscalls()) return 255;
              for (const int family : {AF_UNIX, AF_INET, AF_INET6}) {
                if (FreeSocket(family) != 0) return errno;
              }
              int pair[2];
              if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return errno;
              int seen = 0;
              std::thread([&seen] { seen = 1; }).join();  // clone3 falls back to clone
              if (seen != 1) return 254;
              signal(SIGUSR1, SIG_IGN);
              if (raise(SIGUSR1) != 0) return 253;
              auto child = Process::Spawn({"sleep", "60"}, {.new_namespaces = kChildNamespaces});
              if (!child || !child->Kill(SIGKILL) || !child->Wait()) return 252;
              return 0;
            }),
            0);
}

TEST(SeccompFilterTest, IsInheritedByPrograms) {
  EXPECT_EQ(InChild([] {
              if (!DenyUnneededSyscalls()) return 255;
              execlp("grep", "grep", "-q", "^Seccomp:\t2$", "/proc/self/status", nullptr);
              return 254;
            }),
            0);
}

}  // namespace
}  // namespace cleanroom::os
