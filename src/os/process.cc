#include "os/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "os/child_steps.h"
#include "os/file.h"

namespace cleanroom::os {
namespace {

// Everything the child needs, made before the fork: between fork and exec it shares the parent's
// memory (vfork), so it may only make system calls. It reports a failure by writing here.
struct ChildPlan {
  const char* program;
  char* const* argv;
  char* const* envp;
  const char* cwd;
  const FdMapping* fds;
  size_t fd_count;
  int* scratch;  // one slot per mapping
  int first_free_fd;
  const SpawnOptions* options;
  const ResourceLimit* limits;
  size_t limit_count;
  int parent;  // a pidfd: in a process namespace of its own the child cannot ask for its parent
  sigset_t mask;
  const char* volatile failed_step = nullptr;
  volatile int failed_errno = 0;
};

[[noreturn]] void FailChild(ChildPlan* plan, const char* step) {
  plan->failed_errno = errno;
  plan->failed_step = step;
  _exit(127);
}

void Confine(ChildPlan* plan) {
  const SpawnOptions& options = *plan->options;
  // Without an id map the child is the overflow user in its new user namespace, never user 0, so
  // execve takes the capabilities which it begins with there (user_namespaces(7)).
  if (!options.root.empty() && (chroot(options.root.c_str()) != 0 || chdir("/") != 0)) {
    FailChild(plan, "enter its root");
  }
  for (size_t i = 0; i < plan->limit_count; ++i) {
    const rlimit limit = {plan->limits[i].value, plan->limits[i].value};
    if (syscall(SYS_prlimit64, 0, plan->limits[i].resource, &limit, nullptr) != 0) {
      FailChild(plan, "limit its resources");
    }
  }
}

void DieWithParent(ChildPlan* plan) {
  if (prctl(PR_SET_PDEATHSIG, plan->options->parent_death_signal) != 0) {
    FailChild(plan, "set the parent death signal");
  }
  pollfd parent{plan->parent, POLLIN, 0};
  if (syscall(SYS_poll, &parent, 1, 0) != 0) _exit(127);  // it has died before
}

bool IsIgnored(const ChildPlan* plan, int signal) {
  const std::vector<int>& ignored = plan->options->ignored_signals;
  return std::find(ignored.begin(), ignored.end(), signal) != ignored.end();
}

[[noreturn]] void RunChild(ChildPlan* plan) {
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal == SIGKILL || signal == SIGSTOP || signal == 32 || signal == 33) continue;
    struct sigaction action = {};
    action.sa_handler = IsIgnored(plan, signal) ? SIG_IGN : SIG_DFL;
    sigaction(signal, &action, nullptr);
  }
  const SpawnOptions& options = *plan->options;
  // Above every target, so that it is not overwritten.
  plan->parent = fcntl(plan->parent, F_DUPFD_CLOEXEC, plan->first_free_fd);
  if (plan->parent < 0 ||
      PlaceDescriptors({plan->fds, plan->fd_count}, plan->scratch, plan->first_free_fd) != 0) {
    FailChild(plan, "pass a descriptor");
  }
  if (options.new_session && setsid() < 0) FailChild(plan, "start a session");
  if (options.controlling_terminal >= 0 && ioctl(options.controlling_terminal, TIOCSCTTY, 0) != 0) {
    FailChild(plan, "take the controlling terminal");
  }
  if (const auto& who = options.credentials;
      who && BecomeUser(who->uid, who->gid, who->groups) != 0) {
    FailChild(plan, "set the user");
  }
  // After the credentials, whose change clears it.
  if (options.parent_death_signal != 0) DieWithParent(plan);
  Confine(plan);
  if (plan->cwd != nullptr && chdir(plan->cwd) != 0) {
    FailChild(plan, "enter the working directory");
  }
  if (options.no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    FailChild(plan, "give up new privileges");
  }
  UnblockSignals();
  execve(plan->program, plan->argv, plan->envp);
  FailChild(plan, "execute");
}

int RunClone(void* plan) { RunChild(static_cast<ChildPlan*>(plan)); }

// As vfork, with namespaces from the first moment on: a process namespace can only be entered so.
// The pidfd comes with it, where a filter of system calls keeps us from opening one.
pid_t CloneInto(int namespaces, ChildPlan* plan, int* pidfd) {
  constexpr size_t kStack = size_t{64} << 10;
  const std::unique_ptr<std::byte[]> stack(new std::byte[kStack]);
  return clone(RunClone, stack.get() + kStack,
               CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD | namespaces, plan, pidfd);
}

// A function of its own, so that the child cannot clobber locals the parent goes on to use.
[[gnu::noinline]] pid_t Fork(ChildPlan* plan) {
  // posix_spawn cannot do what the child is to do (users, groups, terminals); RunChild keeps to
  // vfork's rules.
  const pid_t pid = vfork();  // NOLINT(bugprone-unsafe-functions)
  if (pid == 0) RunChild(plan);
  return pid;
}

std::string_view PathOf(const SpawnOptions& options) {
  if (options.env) {
    for (const std::string& entry : *options.env) {
      if (entry.starts_with("PATH=")) return std::string_view(entry).substr(5);
    }
  } else if (const char* path = getenv("PATH"); path != nullptr) {
    return path;
  }
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

Result<void> CheckNamespaces(const SpawnOptions& options) {
  const int flags = options.new_namespaces;
  if (flags != 0 &&
      ((flags & CLONE_NEWUSER) == 0 || (flags & ~kChildNamespaces) != 0 || options.credentials)) {
    return Err(ErrorCode::kInvalidArgument, fmt::format("namespace flags {:#x}", flags));
  }
  if (!options.root.empty() && (flags & CLONE_NEWNS) == 0) {
    return Err(ErrorCode::kInvalidArgument, "a root without a mount namespace");
  }
  return {};
}

Result<std::vector<ResourceLimit>> PossibleLimits(const SpawnOptions& options) {
  std::vector<ResourceLimit> limits = options.limits;
  for (ResourceLimit& limit : limits) {
    rlimit now = {};
    if (syscall(SYS_prlimit64, 0, limit.resource, nullptr, &now) != 0) {
      return ErrErrno(ErrorCode::kInvalidArgument, fmt::format("limit {}", limit.resource));
    }
    limit.value = std::min<uint64_t>(limit.value, now.rlim_max);
  }
  return limits;
}

Result<void> CheckMappings(const SpawnOptions& options) {
  std::vector<int> targets;
  for (const FdMapping& mapping : options.fds) {
    if (mapping.child < 0 || mapping.parent < 0) {
      return Err(ErrorCode::kInternal,
                 fmt::format("descriptor mapping {} <- {}", mapping.child, mapping.parent));
    }
    targets.push_back(mapping.child);
  }
  std::sort(targets.begin(), targets.end());
  if (std::adjacent_find(targets.begin(), targets.end()) != targets.end()) {
    return Err(ErrorCode::kInternal, "one descriptor of the child is mapped twice");
  }
  return {};
}

}  // namespace

std::string ExitStatus::ToString() const {
  if (kind == Kind::kUnknown) return "ended";
  if (kind == Kind::kExited) return fmt::format("exited with code {}", value);
  const char* name = sigdescr_np(value);
  return fmt::format("was ended by signal {} ({})", value, name != nullptr ? name : "unknown");
}

Result<std::string> FindExecutable(const std::string& name, std::string_view path) {
  if (name.empty()) return Err(ErrorCode::kInvalidArgument, "the command is empty");
  if (name.find('/') != std::string::npos) return name;
  bool denied = false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    std::string directory(path.substr(begin, end - begin));
    begin = end + 1;
    if (directory.empty()) directory = ".";
    std::string candidate = fmt::format("{}/{}", directory, name);
    struct stat info;
    if (stat(candidate.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    denied = true;
  }
  if (denied) return Err(ErrorCode::kPermissionDenied, fmt::format("{} is not executable", name));
  return Err(ErrorCode::kNotFound, fmt::format("no program {} in PATH {}", name, path));
}

Result<std::string> FindExecutable(const std::string& name) {
  return FindExecutable(name, PathOf(SpawnOptions{}));
}

Result<Process> Process::Spawn(const std::vector<std::string>& argv, const SpawnOptions& options) {
  if (argv.empty()) return Err(ErrorCode::kInvalidArgument, "the command is empty");
  CR_TRY(CheckMappings(options));
  CR_TRY(CheckNamespaces(options));
  CR_TRY_ASSIGN(const std::string program, FindExecutable(argv[0], PathOf(options)));
  CR_TRY_ASSIGN(const std::vector<ResourceLimit> limits, PossibleLimits(options));
  CR_TRY_ASSIGN(const UniqueFd null_fd, Open("/dev/null", O_RDWR));
  const UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (!self) return ErrErrno(ErrorCode::kResourceExhausted, "pidfd_open");
  const std::vector<char*> arguments = PointersTo(argv);
  std::vector<char*> environment;
  if (options.env) environment = PointersTo(*options.env);
  int highest = 2;
  for (const FdMapping& mapping : options.fds) highest = std::max(highest, mapping.child);
  // What of the standard descriptors is not passed is /dev/null.
  std::vector<FdMapping> fds = options.fds;
  for (int fd = 0; fd < 3; ++fd) {
    const bool passed = std::ranges::any_of(
        options.fds, [fd](const FdMapping& mapping) { return mapping.child == fd; });
    if (!passed) fds.push_back({.child = fd, .parent = null_fd.get()});
  }
  std::vector<int> scratch(fds.size());

  ChildPlan plan{.program = program.c_str(),
                 .argv = arguments.data(),
                 .envp = options.env ? environment.data() : environ,
                 .cwd = options.cwd.empty() ? nullptr : options.cwd.c_str(),
                 .fds = fds.data(),
                 .fd_count = fds.size(),
                 .scratch = scratch.data(),
                 .first_free_fd = highest + 1,
                 .options = &options,
                 .limits = limits.data(),
                 .limit_count = limits.size(),
                 .parent = self.get(),
                 .mask = {}};
  // A signal handler that ran in the child would run on the parent's memory.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &plan.mask);
  int fd = -1;
  const pid_t pid =
      options.new_namespaces != 0 ? CloneInto(options.new_namespaces, &plan, &fd) : Fork(&plan);
  const int fork_errno = errno;
  pthread_sigmask(SIG_SETMASK, &plan.mask, nullptr);
  if (pid < 0) {
    return Err(Error::FromErrno(ErrorCode::kResourceExhausted, fork_errno, "start a process"));
  }
  if (fd < 0) fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  const int pidfd_errno = errno;
  UniqueFd pidfd(fd);
  Process process(pid, std::move(pidfd));
  if (plan.failed_step != nullptr) {
    int ignored = 0;
    while (waitpid(pid, &ignored, 0) < 0 && errno == EINTR) {
    }
    process.Detach();
    const int error = plan.failed_errno;
    return Err(Error::FromErrno(CodeForErrno(error), error,
                                fmt::format("{}: {}", program, plan.failed_step)));
  }
  if (!process.pidfd_) {
    kill(pid, SIGKILL);
    int ignored = 0;
    while (waitpid(pid, &ignored, 0) < 0 && errno == EINTR) {
    }
    process.Detach();
    return Err(Error::FromErrno(ErrorCode::kInternal, pidfd_errno, "pidfd_open"));
  }
  return process;
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      adopted_(other.adopted_),
      status_(std::exchange(other.status_, std::nullopt)) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this == &other) return *this;
  Abandon();
  pid_ = std::exchange(other.pid_, -1);
  pidfd_ = std::move(other.pidfd_);
  adopted_ = other.adopted_;
  status_ = std::exchange(other.status_, std::nullopt);
  return *this;
}

Process Process::Adopt(pid_t pid, UniqueFd pidfd) {
  Process process(pid, std::move(pidfd));
  process.adopted_ = true;
  return process;
}

Process::~Process() { Abandon(); }

void Process::Abandon() {
  if (pid_ < 0 || status_ || adopted_) return;
  (void)Kill(SIGKILL);
  (void)Wait();
}

void Process::Detach() { pid_ = -1; }

Result<std::optional<ExitStatus>> Process::Reap(int flags) {
  if (status_) return status_;
  if (pid_ < 0) return Err(ErrorCode::kInternal, "wait for a process that was given up");
  if (adopted_) return Look(flags);
  siginfo_t info = {};
  while (waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED | flags) != 0) {
    if (errno != EINTR) return ErrErrno(ErrorCode::kInternal, "wait for a process");
  }
  if (info.si_pid == 0) return std::optional<ExitStatus>();
  status_ = ExitStatus{
      info.si_code == CLD_EXITED ? ExitStatus::Kind::kExited : ExitStatus::Kind::kSignaled,
      info.si_status};
  return status_;
}

Result<std::optional<ExitStatus>> Process::Look(int flags) {
  pollfd watched{pidfd_.get(), POLLIN, 0};
  while (poll(&watched, 1, (flags & WNOHANG) != 0 ? 0 : -1) < 0) {
    if (errno != EINTR) return ErrErrno(ErrorCode::kInternal, "poll a process");
  }
  if (watched.revents != 0) status_ = ExitStatus{ExitStatus::Kind::kUnknown, 0};
  return status_;
}

Result<ExitStatus> Process::Wait() {
  CR_TRY_ASSIGN(const std::optional<ExitStatus> status, Reap(0));
  return *status;
}

Result<std::optional<ExitStatus>> Process::WaitFor(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    CR_TRY_ASSIGN(const std::optional<ExitStatus> status, Reap(WNOHANG));
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (status || left.count() <= 0) return status;
    pollfd watched{pidfd_.get(), POLLIN, 0};
    if (poll(&watched, 1, static_cast<int>(std::min<int64_t>(left.count(), 60'000))) < 0 &&
        errno != EINTR) {
      return ErrErrno(ErrorCode::kInternal, "poll a process");
    }
  }
}

Result<void> Process::Kill(int signal) {
  if (status_) return {};
  if (syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0) != 0 && errno != ESRCH) {
    return ErrErrno(CodeForErrno(errno), fmt::format("send signal {} to {}", signal, pid_));
  }
  return {};
}

}  // namespace cleanroom::os
