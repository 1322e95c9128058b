#include "os/seccomp/filter.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "os/process.h"

namespace cleanroom::os {
namespace {

constexpr const char* kDenied[] = {
    // The file systems' tree, and files by other ways than their names.
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "open_by_handle_at",
    "name_to_handle_at",
    "fanotify_init",
    "quotactl",
    "quotactl_fd",
    "acct",
    "swapon",
    "swapoff",
    "mknod",
    "mknodat",
    // Other processes.
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "kcmp",
    "process_madvise",
    "move_pages",
    "migrate_pages",
    "setns",
    "unshare",
    "kill",
    "tkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    // The kernel's rarer machinery.
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "add_key",
    "keyctl",
    "request_key",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "create_module",
    "query_module",
    "get_kernel_syms",
    "personality",
    "modify_ldt",
    "lookup_dcookie",
    "uselib",
    "ustat",
    "sysfs",
    "_sysctl",
    "nfsservctl",
    "vserver",
    "syslog",
    // The whole machine.
    "reboot",
    "iopl",
    "ioperm",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "stime",
    "sethostname",
    "setdomainname",
    "vhangup",
#if !defined(__SANITIZE_ADDRESS__)  // whose leak check is a tracer
    "ptrace",
#endif
};

struct ReleaseFilter {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, ReleaseFilter>;

Result<void> Check(int status, const std::string& what) {
  if (status == 0) return {};
  return Err(Error::FromErrno(ErrorCode::kFailedPrecondition, -status, "seccomp: " + what));
}

Result<void> Deny(const Filter& filter, int syscall, const std::string& name,
                  const scmp_arg_cmp& when) {
  return Check(seccomp_rule_add_array(filter.get(), SCMP_ACT_ERRNO(EPERM), syscall, 1, &when),
               name);
}

// Of clone, what os::Process gives the VMM is allowed: all of kChildNamespaces, or none. A rule
// compares with one value, so: none of them without the next one.
Result<void> DenyNamespaces(const Filter& filter) {
  constexpr std::array<scmp_datum_t, 6> kTogether = {CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,
                                                     CLONE_NEWNET,  CLONE_NEWIPC, CLONE_NEWUTS};
  static_assert((CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                 CLONE_NEWUTS) == kChildNamespaces);
  for (size_t i = 0; i < kTogether.size(); ++i) {
    const scmp_datum_t flag = kTogether[i];
    const scmp_datum_t next = kTogether[(i + 1) % kTogether.size()];
    CR_TRY(Deny(filter, SCMP_SYS(clone), "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, flag | next, flag)));
  }
  constexpr scmp_datum_t kNever = CLONE_NEWCGROUP;
  CR_TRY(Deny(filter, SCMP_SYS(clone), "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, kNever, kNever)));
  // Its flags lie in memory, where a filter cannot look; callers fall back to clone.
  return Check(seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0),
               "clone3");
}

Result<void> DenySocketFamilies(const Filter& filter) {
  // A filter compares with one value at a time: every family up to the last allowed one by itself.
  for (int family = 0; family <= AF_INET6; ++family) {
    if (family == AF_UNIX || family == AF_INET || family == AF_INET6) continue;
    CR_TRY(Deny(filter, SCMP_SYS(socket), "socket",
                SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(family), 0)));
  }
  CR_TRY(Deny(filter, SCMP_SYS(socket), "socket", SCMP_A0(SCMP_CMP_GT, AF_INET6, 0)));
  return Deny(filter, SCMP_SYS(socketpair), "socketpair", SCMP_A0(SCMP_CMP_NE, AF_UNIX, 0));
}

// Signals go to oneself (raise, abort, threads) and, by the descriptor that it was started with, to
// a child. A VMM, which inherits this, is process 1 of its own namespace. Two values of one
// argument are more than a rule of the library's can say.
Result<void> DenyForeignProcesses() {
  constexpr auto kWho = static_cast<uint32_t>(offsetof(seccomp_data, args));  // its lower half
  const auto self = static_cast<uint32_t>(getpid());
  std::array<sock_filter, 8> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kWho),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, self, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter = {program.size(), program.data()};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    return ErrErrno(ErrorCode::kFailedPrecondition, "seccomp: load the filter for signals");
  }
  return {};
}

}  // namespace

Result<void> DenyUnneededSyscalls(Signals signals) {
  const Filter filter(seccomp_init(SCMP_ACT_ALLOW));
  if (filter == nullptr) return Err(ErrorCode::kInternal, "seccomp: cannot make a filter");
  for (const char* name : kDenied) {
    const int number = seccomp_syscall_resolve_name(name);
    // Unknown to the library, or no call of this architecture's.
    if (number < 0) continue;
    CR_TRY(Check(seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM), number, 0), name));
  }
  CR_TRY(DenyNamespaces(filter));
  CR_TRY(DenySocketFamilies(filter));
  CR_TRY(Check(seccomp_load(filter.get()), "load the filter; the kernel must support it"));
  if (signals == Signals::kToAny) return {};
  return DenyForeignProcesses();
}

}  // namespace cleanroom::os
