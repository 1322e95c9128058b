#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "os/netns/netns.h"

namespace cleanroom::os {

Result<void> DropPrivileges() {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    // Without CAP_SETPCAP there is nothing to give up: no_new_privs then closes the remaining ways.
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EPERM) {
      return ErrErrno(ErrorCode::kInternal, "drop a capability from the bounding set");
    }
  }
  // User 0 is nobody special for execve.
  const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                             SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED;
  if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) != 0 && errno != EPERM) {
    return ErrErrno(ErrorCode::kInternal, "lock the secure bits");
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    return ErrErrno(ErrorCode::kInternal, "clear the ambient capabilities");
  }
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  const std::array<__user_cap_data_struct, 2> none = {};
  if (syscall(SYS_capset, &header, none.data()) != 0) {
    return ErrErrno(ErrorCode::kInternal, "drop the capabilities");
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return ErrErrno(ErrorCode::kInternal, "set no_new_privs");
  }
  return {};
}

}  // namespace cleanroom::os
