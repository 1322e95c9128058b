// Preloaded into a QEMU whose machine is held: forks it on request, with all its threads.
//
// An emulated machine is slow to start because its code is yet to be translated, and a saved state
// does not contain translations. A process does: a fork of a QEMU whose machine has run everything
// once starts with all of it, and shares the memory page by page until one side writes.
//
// A fork gets the descriptors of its own in place of the held ones, which it must not share: its
// sockets, disk and TAP from whoever asked, fresh event counters from the kernel.
//
// The variable CLEANROOM_FORK_FD names a listening socket, CLEANROOM_FORK_DISK the held machine's
// disk, CLEANROOM_FORK_ROOT an empty folder for the root of forks, if they are to have one.
// Freestanding but for libc; nothing here allocates memory, for a stopped thread may hold the
// allocator's lock.
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmm/qemu/descriptors.h"
#include "vmm/qemu/preload/fork_request.h"
#include "vmm/qemu/preload/threads.h"

namespace cleanroom::vmm {
namespace {

constexpr int kMaxFd = 1024;
constexpr int kMaxWaiting = 128;

int event_fds[kMaxFd];  // flags + 1 of each descriptor that eventfd gave
int tap_offload = -1;
int tap_header_size = -1;
struct stat held_disk;
pollfd watched[kMaxWaiting];  // the listening socket, and connections that have not asked yet
int watched_count;
const char* fork_root = "";
char* own_name;  // the sandbox's id in the arguments
bool held;       // whether this process may be forked

// --- In the fork --------------------------------------------------------------------------------

struct Received {
  ForkRequest request;
  int fds[kForkFds];
};
Received received;

// The first step that fails, with errno.
const char* ReplaceDescriptors() {
  for (int fd = 0; fd < kMaxFd; ++fd) {
    struct stat info;
    if (fstat(fd, &info) != 0) continue;
    if (S_ISREG(info.st_mode) && info.st_dev == held_disk.st_dev &&
        info.st_ino == held_disk.st_ino && fd != received.fds[kForkDisk]) {
      if (dup3(received.fds[kForkDisk], fd, O_CLOEXEC) < 0) return "disk";
    } else if (event_fds[fd] != 0 && (info.st_mode & S_IFMT) == 0) {
      // Whoever waits looks once more than it must.
      const int fresh = static_cast<int>(syscall(SYS_eventfd2, 1, event_fds[fd] - 1));
      if (fresh < 0 || dup3(fresh, fd, O_CLOEXEC) < 0) return "event counter";
      close(fresh);
    }
  }
  const struct {
    int fd;
    ForkFd source;
  } sockets[] = {{1, kForkConsole},
                 {2, kForkConsole},
                 {kQemuConsoleFd, kForkConsole},
                 {kQemuAgentFd, kForkAgent},
                 {kQemuMonitorFd, kForkMonitor},
                 {kQemuTapFd, kForkTap}};
  for (const auto& socket : sockets) {
    const int source = received.fds[socket.source];
    if (source < 0) continue;
    // What O_NONBLOCK was on the held one.
    const int flags = fcntl(socket.fd, F_GETFL);
    if (dup3(source, socket.fd, socket.fd > 2 ? O_CLOEXEC : 0) < 0) return "socket";
    if (flags >= 0 && fcntl(socket.fd, F_SETFL, flags) != 0) return "socket flags";
  }
  if (received.fds[kForkTap] >= 0) {
    if (tap_header_size >= 0 && ioctl(kQemuTapFd, TUNSETVNETHDRSZ, &tap_header_size) != 0) {
      return "TAP header";
    }
    if (tap_offload >= 0 && ioctl(kQemuTapFd, TUNSETOFFLOAD, tap_offload) != 0)
      return "TAP offload";
  }
  for (int& fd : received.fds) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
  return nullptr;
}

#define CLEANROOM_DENY(name)                             \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), \
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

// What a machine monitor that runs does not need, beside what the held one was denied already.
sock_filter denied[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
    CLEANROOM_DENY(execve),
    CLEANROOM_DENY(execveat),
    CLEANROOM_DENY(fork),
    CLEANROOM_DENY(vfork),
    CLEANROOM_DENY(unshare),
    CLEANROOM_DENY(chroot),
    CLEANROOM_DENY(socket),
    CLEANROOM_DENY(connect),
    CLEANROOM_DENY(bind),
    CLEANROOM_DENY(capset),
    CLEANROOM_DENY(setrlimit),
    CLEANROOM_DENY(prlimit64),
    CLEANROOM_DENY(kill),
    CLEANROOM_DENY(tkill),
    CLEANROOM_DENY(pidfd_open),
    CLEANROOM_DENY(pidfd_send_signal),
    // Signals to itself, which is process 1 of its namespace.
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
    // More threads, but no process.
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};
#undef CLEANROOM_DENY

// Leaves the held process's files, limits and rights behind. In a user namespace of its own the
// fork begins with all capabilities there.
const char* Confine() {
  if (fork_root[0] != 0 && (chroot(fork_root) != 0 || chdir("/") != 0)) return "root";
  const rlimit threads = {.rlim_cur = kMaxThreads, .rlim_max = kMaxThreads};
  if (setrlimit(RLIMIT_NPROC, &threads) != 0) return "limits";
  if (received.request.namespaces != 0) {
    for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; ++capability) {
    }
    __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    const __user_cap_data_struct none[2] = {};
    if (syscall(SYS_capset, &header, none) != 0) return "capabilities";
  }
  const sock_fprog program = {.len = sizeof denied / sizeof *denied, .filter = denied};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    return "system call filter";
  }
  return nullptr;
}

// With a descriptor of the process, unless it is -1.
void Answer(int connection, const char* step, int error, int process) {
  ForkAnswer answer;
  answer.error = error;
  if (step != nullptr) strncpy(answer.step, step, sizeof answer.step - 1);
  iovec part = {&answer, sizeof answer};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof process)] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (process >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof process);
    memcpy(CMSG_DATA(header), &process, sizeof process);
  }
  (void)!sendmsg(connection, &message, MSG_NOSIGNAL);
}

[[noreturn]] void Child(int connection) {
  held = false;
  for (int i = 0; i < watched_count; ++i) close(watched[i].fd);
  if (own_name != nullptr) {
    memcpy(own_name, received.request.sandbox_id, sizeof received.request.sandbox_id);
  }
  const int self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
  const char* failed = self < 0 ? "pidfd" : ReplaceDescriptors();
  if (failed == nullptr) failed = Confine();
  if (failed == nullptr && !RemakeThreads()) failed = "thread";
  // Whoever asked for this machine holds the other end. When it closes we end, also when we are
  // stopped: the kernel has us go on then.
  if (failed == nullptr &&
      (fcntl(connection, F_SETOWN, getpid()) != 0 || fcntl(connection, F_SETSIG, SIGCONT) != 0 ||
       fcntl(connection, F_SETFL, O_ASYNC) != 0)) {
    failed = "watch the connection";
  }
  Answer(connection, failed, failed == nullptr ? 0 : errno, self);
  if (failed != nullptr) _exit(1);
  close(self);
  // Not recv(2), while which there is no signal.
  pollfd owner = {.fd = connection, .events = POLLIN, .revents = 0};
  while (poll(&owner, 1, -1) <= 0) {
  }
  _exit(1);
}

// --- In the held process ------------------------------------------------------------------------

// An errno, or 0.
int Receive(int connection) {
  for (int& fd : received.fds) fd = -1;
  const timeval patience = {.tv_sec = 1, .tv_usec = 0};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  iovec part = {&received.request, sizeof received.request};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof received.fds)];
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t n = recvmsg(connection, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL);
  if (n < 0) return errno;
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  int count = 0;
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
    count = static_cast<int>((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(received.fds, CMSG_DATA(header), static_cast<size_t>(count) * sizeof(int));
  }
  const ForkRequest& request = received.request;
  if ((message.msg_flags & MSG_CTRUNC) != 0 || n != sizeof request ||
      request.version != kForkVersion || count <= kForkDisk) {
    return EINVAL;
  }
  // Nothing else of clone(2)'s: memory or descriptors in common, say.
  if ((request.namespaces & ~kForkNamespaces) != 0) return EINVAL;
  return 0;
}

void Fork(int connection) {
  const int bad = Receive(connection);
  if (bad != 0) {
    Answer(connection, "request", bad, -1);
  } else if (!StopThreads()) {
    Answer(connection, "stop the threads", EBUSY, -1);
  } else {
    const long pid = syscall(SYS_clone, SIGCHLD | CLONE_CHILD_SETTID | received.request.namespaces,
                             nullptr, nullptr, OwnThreadId(), 0);
    if (pid == 0) Child(connection);
    const int error = errno;
    ReleaseThreads();
    if (pid < 0) Answer(connection, "fork", error, -1);
  }
  for (int& fd : received.fds) {
    if (fd >= 0) close(fd);
  }
}

// Whoever has connected may take its time until it asks, also for ever.
void* Serve(void*) {
  for (;;) {
    // Full, nobody is accepted until somebody has asked or gone.
    const int first = watched_count == kMaxWaiting ? 1 : 0;
    watched[0].revents = 0;
    if (poll(watched + first, static_cast<nfds_t>(watched_count - first), -1) < 0) {
      if (errno == EINTR) continue;
      return nullptr;
    }
    for (int i = watched_count - 1; i > 0; --i) {
      if (watched[i].revents == 0) continue;
      const int connection = watched[i].fd;
      watched[i] = watched[--watched_count];
      Fork(connection);
      close(connection);
    }
    if (watched[0].revents == 0 || watched_count == kMaxWaiting) continue;
    const int connection = accept4(watched[0].fd, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    watched[watched_count++] = {.fd = connection, .events = POLLIN, .revents = 0};
  }
}

char* FindName(int argc, char** argv) {
  constexpr char kPrefix[] = "guest=cleanroom-";
  for (int i = 0; i < argc; ++i) {
    if (strncmp(argv[i], kPrefix, sizeof kPrefix - 1) != 0) continue;
    char* const id = argv[i] + sizeof kPrefix - 1;
    if (strlen(id) == kForkIdBytes) return id;
  }
  return nullptr;
}

[[gnu::constructor]] void Start(int argc, char** argv, char**) {
  const char* const text = getenv("CLEANROOM_FORK_FD");
  if (text == nullptr) return;
  held = true;
  own_name = FindName(argc, argv);
  const char* const disk = getenv("CLEANROOM_FORK_DISK");
  if (disk != nullptr) (void)stat(disk, &held_disk);
  if (const char* const root = getenv("CLEANROOM_FORK_ROOT"); root != nullptr) fork_root = root;
  signal(SIGCHLD, SIG_IGN);  // forks are not waited for
  ListThreads();
  watched[watched_count++] = {.fd = atoi(text), .events = POLLIN, .revents = 0};
  if (!StartSilentThread(Serve)) held = false;
}

}  // namespace

// --- What QEMU calls ----------------------------------------------------------------------------

// QEMU keeps guest memory and translations out of forks.
extern "C" [[gnu::visibility("default")]] int madvise(void* address, size_t length,
                                                      int advice) noexcept {
  if (advice == MADV_DONTFORK && held) return 0;
  return static_cast<int>(syscall(SYS_madvise, address, length, advice));
}

extern "C" [[gnu::visibility("default")]] int eventfd(unsigned int count, int flags) noexcept {
  const int fd = static_cast<int>(syscall(SYS_eventfd2, count, flags));
  if (fd >= 0 && fd < kMaxFd) event_fds[fd] = flags + 1;
  return fd;
}

extern "C" [[gnu::visibility("default")]] int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list arguments;
  va_start(arguments, request);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  if (request == TUNSETOFFLOAD)
    tap_offload = static_cast<int>(reinterpret_cast<intptr_t>(argument));
  if (request == TUNSETVNETHDRSZ) tap_header_size = *static_cast<const int*>(argument);
  return static_cast<int>(syscall(SYS_ioctl, fd, request, argument));
}

}  // namespace cleanroom::vmm
