// Child processes: started without a copy of the parent's memory, watched through a pidfd, reaped
// once.
//
//   CR_TRY_ASSIGN(auto child,
//                 os::Process::Spawn({"/usr/bin/nft", "-v"}, {.fds = {{1, pipe.get()}}}));
//   child.pidfd()  // readable when it has ended: poll it, or give a dup to Asio
//   CR_TRY_ASSIGN(auto status, child.Wait());
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "os/fd_mapping.h"
#include "os/unique_fd.h"

namespace cleanroom::os {

// How a process ended.
struct ExitStatus {
  enum class Kind { kExited, kSignaled, kUnknown };
  Kind kind = Kind::kExited;
  int value = 0;  // the exit code, or the signal; 0 when unknown

  bool ok() const { return kind == Kind::kExited && value == 0; }
  // What a shell would show: the code, or 128 + signal.
  int ShellCode() const { return kind == Kind::kExited ? value : 128 + value; }
  // "exited with code 3", "was ended by signal 9 (Killed)", "ended".
  std::string ToString() const;
  bool operator==(const ExitStatus&) const = default;
};

struct Credentials {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups{};  // supplementary
};

// `resource` is RLIMIT_...
struct ResourceLimit {
  int resource;
  uint64_t value;
};

// The namespaces that a child can have of its own. No network but a loopback that is down.
inline constexpr int kChildNamespaces =
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

struct SpawnOptions {
  // "KEY=value" each; nothing: the parent's environment.
  std::optional<std::vector<std::string>> env{};
  // What the child has open. Nothing else is inherited; 0, 1 and 2 are /dev/null unless mapped
  // here.
  std::vector<FdMapping> fds{};
  std::string cwd{};  // empty: the parent's
  // setsid(2): a session and a process group of its own.
  bool new_session = false;
  // With new_session: the child's descriptor that becomes its controlling terminal; -1 for none.
  int controlling_terminal = -1;
  // The signal the child gets when the thread that started it ends; 0 for none. A parent that is
  // multi-threaded spawns such children from its main thread.
  int parent_death_signal = 0;
  // Run as this user; nothing: the parent's.
  std::optional<Credentials> credentials{};
  // CLONE_NEWUSER, alone or with others of kChildNamespaces: namespaces of the child's own; 0 for
  // none. No privilege is needed, and the parent may be in a user namespace of its own already
  // (they nest). In there the child keeps the parent's rights to files, but has no id and no
  // capability, and can make no further user namespace: its ids are not mapped. With CLONE_NEWPID
  // it is process 1 and sees no process of the host's. invalid_argument for other flags, or with
  // `credentials`.
  int new_namespaces = 0;
  // With new_namespaces: the folder that becomes the child's root, where argv[0] and `cwd` are
  // looked up; empty: the parent's. The child has no way back out.
  std::string root{};
  // Soft and hard alike, and no higher than the parent's hard ones. A limit on processes counts
  // those in the child's own user namespace, where it has one.
  std::vector<ResourceLimit> limits{};
  // Signals that the child begins with ignored; all others are at their defaults.
  std::vector<int> ignored_signals{};
  // Sets PR_SET_NO_NEW_PRIVS.
  bool no_new_privileges = false;
};

class Process {
 public:
  // Starts argv[0], which is a path, or a name looked up in the PATH of the child's environment.
  // Signals are at their defaults (but see ignored_signals) and unblocked in the child. An error of
  // any step up to execve is returned here: not_found or permission_denied when the program or cwd is missing or may not be
  // run.
  static Result<Process> Spawn(const std::vector<std::string>& argv, const SpawnOptions& options);
  // A process that another one started and reaps: of its end nothing is known but that. It is not
  // ended with this object.
  static Process Adopt(pid_t pid, UniqueFd pidfd);

  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  // A child that was neither waited for nor detached is killed and reaped.
  ~Process();

  pid_t pid() const { return pid_; }
  // Readable (POLLIN) once the child has ended. Stays open until the Process is destroyed.
  int pidfd() const { return pidfd_.get(); }

  // Blocks until the child has ended. Later calls return the same status.
  Result<ExitStatus> Wait();
  // Blocks at most `timeout`; nothing when the child still runs then.
  Result<std::optional<ExitStatus>> WaitFor(std::chrono::milliseconds timeout);

  // Sends a signal; success when the child has already ended.
  Result<void> Kill(int signal);

  // Gives the child up: it is neither killed nor reaped here.
  void Detach();

 private:
  Process(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  Result<std::optional<ExitStatus>> Look(int flags);
  Result<std::optional<ExitStatus>> Reap(int flags);
  void Abandon();

  pid_t pid_ = -1;
  UniqueFd pidfd_;
  bool adopted_ = false;
  std::optional<ExitStatus> status_;
};

// Where execve would find `name`: itself if it has a '/', else the first executable in the
// colon-separated `path`. not_found when there is none, permission_denied when one is not
// executable.
Result<std::string> FindExecutable(const std::string& name, std::string_view path);
// The same with this process's PATH.
Result<std::string> FindExecutable(const std::string& name);

struct RunOptions {
  SpawnOptions spawn{};  // its mappings of 0, 1 and 2 are ours
  std::string input{};   // for stdin
  std::chrono::milliseconds timeout{10'000};
  // Bytes of stdout and of stderr that are kept; what follows is read and dropped.
  size_t max_output = 1 << 20;
};

struct Output {
  ExitStatus status;
  std::string out;
  std::string err;
};

// Runs a short helper command to its end, blocking. deadline_exceeded (and the command killed, with
// its process group where new_session made it one) after the timeout; an exit code other than 0 is
// not an error here.
Result<Output> Run(const std::vector<std::string>& argv, const RunOptions& options = {});

}  // namespace cleanroom::os
