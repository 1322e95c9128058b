#include "guest/exec/spawn.h"

#include <fmt/format.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "guest/exec/environment.h"
#include "os/child_steps.h"

namespace cleanroom::guest {
namespace {

// Above 0, 1 and 2, so that putting one in place overwrites no other.
constexpr int kFirstFreeFd = 3;

enum class Step { kNone, kDescriptors, kSession, kTerminal, kRoot, kUser, kWorkdir, kExecute };

// Everything the child needs, made before it exists: it shares the agent's memory until it
// executes, so it makes system calls and nothing else. Failures are written here.
struct Plan {
  const SpawnRequest* request;
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::vector<std::string> candidates;
  bool change_user;
  volatile Step failed_step = Step::kNone;
  volatile int failed_errno = 0;
};

[[noreturn]] void Fail(Plan* plan, Step step, int error) {
  plan->failed_errno = error;
  plan->failed_step = step;
  _exit(127);
}

void Check(Plan* plan, Step step, long result) {
  if (result < 0) Fail(plan, step, errno);
}

// What the agent is; where its processor is emulated, each of these calls costs.
bool IsPlainRoot(const accounts::User& user) {
  static const bool agent_is = geteuid() == 0 && getegid() == 0 && getgroups(0, nullptr) == 0;
  return agent_is && user.uid == 0 && user.gid == 0 && user.groups.empty();
}

[[noreturn]] void Execute(Plan* plan) {
  // As execvp(3): the first candidate that is there decides, but for one that may not be run, which
  // is remembered while the search goes on.
  int error = ENOENT;
  for (const std::string& candidate : plan->candidates) {
    // Far cheaper than an attempt to execute what is not there.
    if (plan->candidates.size() > 1 && faccessat(AT_FDCWD, candidate.c_str(), F_OK, 0) != 0 &&
        (errno == ENOENT || errno == ENOTDIR)) {
      continue;
    }
    execve(candidate.c_str(), plan->argv.data(), plan->envp.data());
    switch (errno) {
      case ENOENT:
      case ENOTDIR:
      case ENAMETOOLONG:
        break;
      case EACCES:
        error = EACCES;
        break;
      default:
        Fail(plan, Step::kExecute, errno);
    }
  }
  Fail(plan, Step::kExecute, error);
}

[[noreturn]] void RunChild(Plan* plan) {
  const SpawnRequest& request = *plan->request;
  // The one signal that the agent ignores. Handlers went with CLONE_CLEAR_SIGHAND.
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  sigaction(SIGPIPE, &action, nullptr);
  (void)setpriority(PRIO_PROCESS, 0, 0);  // the agent's own is higher
  const os::FdMapping fds[] = {{.child = 0, .parent = request.stdin_fd},
                               {.child = 1, .parent = request.stdout_fd},
                               {.child = 2, .parent = request.stderr_fd}};
  int scratch[3];
  Check(plan, Step::kDescriptors, os::PlaceDescriptors(fds, scratch, kFirstFreeFd));
  Check(plan, Step::kSession, setsid());
  if (request.controlling_terminal) Check(plan, Step::kTerminal, ioctl(0, TIOCSCTTY, 0));
  if (request.root_fd >= 0) {
    Check(plan, Step::kRoot, fchdir(request.root_fd));
    Check(plan, Step::kRoot, chroot("."));
  }
  // As container runtimes do: an image may start its user in a directory that only root may enter,
  // and a user may have one that root may not (a network file system).
  const bool entered = chdir(request.workdir.c_str()) == 0;
  if (const accounts::User& user = request.user; plan->change_user) {
    Check(plan, Step::kUser, os::BecomeUser(user.uid, user.gid, user.groups));
  }
  if (!entered) Check(plan, Step::kWorkdir, chdir(request.workdir.c_str()));
  umask(022);
  os::UnblockSignals();
  Execute(plan);
}

// vfork(2) that can also place the child in a cgroup. Written out because the child runs on the
// caller's stack: it must not return through a frame (such as that of syscall(2)) which the caller
// is still to return through, and so the call is inline and all the child calls does not return.
[[gnu::noinline]] long CloneAndRun(Plan* plan, clone_args* args) {
#if defined(__x86_64__)
  long result = SYS_clone3;
  register size_t size asm("rsi") = sizeof *args;
  asm volatile("syscall" : "+a"(result) : "D"(args), "r"(size) : "rcx", "r11", "memory");
#else
#error "the agent is built for x86-64 guests only"
#endif
  if (result == 0) RunChild(plan);
  return result;
}

SpawnFailure Explain(const SpawnRequest& request, Step step, int error) {
  const std::string reason = strerror(error);
  const std::string& program = request.argv[0];
  switch (step) {
    case Step::kExecute:
      if (error == ENOENT) {
        return {127,
                program.find('/') == std::string::npos
                    ? fmt::format("{}: no such program in PATH {}", program,
                                  Lookup(request.env, "PATH"))
                    : fmt::format("{}: no such program, or its interpreter is missing", program)};
      }
      return {126, fmt::format("{}: cannot be run: {}", program, reason)};
    case Step::kWorkdir:
      return {126, fmt::format("working directory {}: {}", request.workdir, reason)};
    case Step::kUser:
      return {126, fmt::format("become user {}: {}", request.user.uid, reason)};
    default:
      return {126, fmt::format("{}: prepare to run (step {}): {}", program, static_cast<int>(step),
                               reason)};
  }
}

}  // namespace

std::expected<pid_t, SpawnFailure> Spawn(const SpawnRequest& request) {
  if (request.argv.empty() || request.argv[0].empty()) {
    return std::unexpected(SpawnFailure{127, "the command is empty"});
  }
  Plan plan{.request = &request,
            .argv = os::PointersTo(request.argv),
            .envp = os::PointersTo(request.env),
            .candidates = ProgramCandidates(request.argv[0], Lookup(request.env, "PATH")),
            .change_user = request.change_user && !IsPlainRoot(request.user)};
  clone_args args = {};
  args.flags = CLONE_VM | CLONE_VFORK | CLONE_CLEAR_SIGHAND;
  args.exit_signal = SIGCHLD;
  if (request.cgroup_fd >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(request.cgroup_fd);
  }
  // A handler that ran in the child would run on the agent's memory.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const long pid = CloneAndRun(&plan, &args);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) {
    return std::unexpected(SpawnFailure{
        126, fmt::format("{}: start a process: {}", request.argv[0], strerror(-int(pid)))});
  }
  if (plan.failed_step != Step::kNone) {
    while (waitpid(static_cast<pid_t>(pid), nullptr, 0) < 0 && errno == EINTR) {
    }
    return std::unexpected(Explain(request, plan.failed_step, plan.failed_errno));
  }
  return static_cast<pid_t>(pid);
}

}  // namespace cleanroom::guest
