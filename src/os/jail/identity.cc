#include "os/jail/identity.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "os/file.h"
#include "os/unique_fd.h"

namespace cleanroom::os {
namespace {

Result<void> WriteSelf(int proc_dir, const std::string& file, std::string_view text) {
  const std::string path = "self/" + file;
  const UniqueFd fd(openat(proc_dir, path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return ErrErrno(ErrorCode::kFailedPrecondition, "open /proc/" + path);
  return WriteAll(fd.get(), text, path);
}

}  // namespace

std::unexpected<Error> NotAllowed(std::string_view what, std::string_view remedy) {
  return Err(
      Error::FromErrno(ErrorCode::kFailedPrecondition, errno, what).Remedy(std::string(remedy)));
}

Result<void> Become(const Credentials& who) {
  if (setgroups(who.groups.size(), who.groups.data()) != 0 ||
      setresgid(who.gid, who.gid, who.gid) != 0 || setresuid(who.uid, who.uid, who.uid) != 0) {
    return ErrErrno(ErrorCode::kFailedPrecondition, fmt::format("become user {}", who.uid));
  }
  return {};
}

Result<void> EnterUserNamespace(int proc_dir) {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  // A process that has changed its user may not write to its own files in /proc.
  const int dumpable = prctl(PR_GET_DUMPABLE);
  if (dumpable != 1) prctl(PR_SET_DUMPABLE, 1);
  if (unshare(CLONE_NEWUSER) != 0) {
    if (errno == EINVAL) {
      return Err(ErrorCode::kInternal, "a process with several threads cannot enter a namespace");
    }
    return NotAllowed("make a user namespace",
                      "allow them: sysctl user.max_user_namespaces must not be 0, "
                      "kernel.unprivileged_userns_clone (where it exists) must be 1, and a "
                      "container needs a seccomp profile that permits unshare");
  }
  // An ordinary user may map only itself, and only after giving up setgroups.
  CR_TRY(WriteSelf(proc_dir, "setgroups", "deny"));
  CR_TRY(WriteSelf(proc_dir, "uid_map", fmt::format("{} {} 1", uid, uid)));
  CR_TRY(WriteSelf(proc_dir, "gid_map", fmt::format("{} {} 1", gid, gid)));
  if (dumpable != 1) prctl(PR_SET_DUMPABLE, 0);
  return {};
}

Result<void> EnterUserNamespace() {
  CR_TRY_ASSIGN(const UniqueFd proc, OpenDir("/proc"));
  return EnterUserNamespace(proc.get());
}

}  // namespace cleanroom::os
