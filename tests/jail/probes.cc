#include "tests/jail/probes.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <sstream>
#include <vector>

namespace cleanroom::jail {
namespace {

// More than either may have.
constexpr int kManyProcesses = 1200;

int ErrnoOf(long result) { return result < 0 ? errno : 0; }

int Close(int fd) { return fd < 0 ? errno : (close(fd), 0); }

int OpenFile(const std::string& path, int flags) { return Close(open(path.c_str(), flags)); }

int Connect(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return errno;
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int error =
      ErrnoOf(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address));
  close(fd);
  return error;
}

int Trace(pid_t pid) {
  if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0) return errno;
  ptrace(PTRACE_INTERRUPT, pid, 0, 0);
  int status = 0;
  waitpid(pid, &status, __WALL);
  return ErrnoOf(ptrace(PTRACE_DETACH, pid, 0, 0));
}

int SignalByDescriptor(pid_t pid) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return errno;
  const int error = ErrnoOf(syscall(SYS_pidfd_send_signal, fd, 0, nullptr, 0));
  close(fd);
  return error;
}

// In a child, which is in namespaces of its own where that is allowed.
int Mount() {
  const pid_t child = fork();
  if (child < 0) return errno;
  if (child == 0) {
    (void)unshare(CLONE_NEWUSER | CLONE_NEWNS);
    _exit(ErrnoOf(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr)));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

// How far it gets before the first refusal; all end when the pipe does.
int ForkMany() {
  std::array<int, 2> ends = {};
  if (pipe(ends.data()) != 0) return errno;
  int error = 0;
  int made = 0;
  while (made < kManyProcesses && error == 0) {
    const pid_t child = fork();
    if (child < 0) error = errno;
    if (child == 0) {
      close(ends[1]);
      char byte = 0;
      (void)!read(ends[0], &byte, 1);
      _exit(0);
    }
    if (child > 0) ++made;
  }
  close(ends[1]);
  close(ends[0]);
  while (made-- > 0) wait(nullptr);
  return error;
}

int SeeProcess(pid_t pid) {
  struct stat info = {};
  return ErrnoOf(stat(fmt::format("/proc/{}/cmdline", pid).c_str(), &info));
}

}  // namespace

std::string ToText(const Targets& targets) {
  return fmt::format("{} {} {} {}", targets.sibling, targets.port, targets.secret,
                     targets.readable);
}

Targets FromText(const std::string& text) {
  Targets targets;
  std::istringstream in(text);
  in >> targets.sibling >> targets.port >> targets.secret >> targets.readable;
  return targets;
}

Findings TryAll(const Targets& targets) {
  const pid_t pid = targets.sibling;
  const std::vector<std::pair<const char*, std::function<int()>>> probes = {
      {"read a secret", [&] { return OpenFile(targets.secret, O_RDONLY); }},
      {"read /etc/shadow", [] { return OpenFile("/etc/shadow", O_RDONLY); }},
      {"read /etc/passwd", [] { return OpenFile("/etc/passwd", O_RDONLY); }},
      {"write what is read-only", [&] { return OpenFile(targets.readable, O_RDWR); }},
      {"be a process of the host's namespace", [] { return getpid() == 1 ? ESRCH : 0; }},
      {"see processes", [&] { return SeeProcess(pid); }},
      {"kill a sibling", [&] { return ErrnoOf(kill(pid, 0)); }},
      {"tgkill a sibling", [&] { return ErrnoOf(syscall(SYS_tgkill, pid, pid, 0)); }},
      {"signal a sibling by descriptor", [&] { return SignalByDescriptor(pid); }},
      {"trace a sibling", [&] { return Trace(pid); }},
      {"connect out", [&] { return Connect(targets.port); }},
      {"talk to the kernel's network", [] { return Close(socket(AF_NETLINK, SOCK_RAW, 0)); }},
      {"mount", [] { return Mount(); }},
      // Where it is allowed, the kernel finds that there is no module (EBADF), or has no modules at
      // all (ENOSYS).
      {"load a module",
       [] {
         const int error = ErrnoOf(syscall(SYS_finit_module, -1, "", 0));
         return error == EBADF || error == ENOSYS ? 0 : error;
       }},
      {"make many processes", [] { return ForkMany(); }},
  };
  Findings findings;
  for (const auto& [name, attempt] : probes) {
    const int error = attempt();
    const char* text = error == 0 ? "" : strerrorname_np(error);
    findings[name] = text == nullptr ? "?" : text;
  }
  return findings;
}

std::string ToText(const Findings& findings) {
  std::string text;
  for (const auto& [name, finding] : findings) text += fmt::format("{}={}\n", name, finding);
  return text + "end\n";
}

Findings FindingsFrom(const std::string& text) {
  Findings findings;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const size_t equals = line.find('=');
    if (equals != std::string::npos) findings[line.substr(0, equals)] = line.substr(equals + 1);
  }
  return findings;
}

}  // namespace cleanroom::jail
