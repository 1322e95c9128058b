#include "os/child_steps.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cleanroom::os {

int PlaceDescriptors(std::span<const FdMapping> mappings, int* scratch, int first_free) {
  for (size_t i = 0; i < mappings.size(); ++i) {
    scratch[i] = mappings[i].parent;
    if (scratch[i] >= first_free) continue;
    scratch[i] = fcntl(scratch[i], F_DUPFD_CLOEXEC, first_free);
    if (scratch[i] < 0) return -1;
  }
  if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0) return -1;
  for (size_t i = 0; i < mappings.size(); ++i) {
    if (dup2(scratch[i], mappings[i].child) < 0) return -1;
  }
  return 0;
}

int BecomeUser(uid_t uid, gid_t gid, std::span<const gid_t> groups) {
  if (syscall(SYS_setgroups, groups.size(), groups.data()) != 0) return -1;
  if (syscall(SYS_setresgid, gid, gid, gid) != 0) return -1;
  return static_cast<int>(syscall(SYS_setresuid, uid, uid, uid));
}

void UnblockSignals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

std::vector<char*> PointersTo(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace cleanroom::os
