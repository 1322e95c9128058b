#include "tree/data_mounts.h"

#include <linux/magic.h>
#include <sys/statfs.h>

#include <algorithm>
#include <array>

namespace cleanroom::tree {
namespace {

// devtmpfs is a tmpfs to all who ask; what it has beside devices is data.
constexpr std::array<unsigned long, 18> kVirtual = {
    PROC_SUPER_MAGIC,   SYSFS_MAGIC,    CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
    DEVPTS_SUPER_MAGIC, DEBUGFS_MAGIC,  TRACEFS_MAGIC,      SECURITYFS_MAGIC,
    SELINUX_MAGIC,      SMACK_MAGIC,    BPF_FS_MAGIC,       EFIVARFS_MAGIC,
    BINFMTFS_MAGIC,     PSTOREFS_MAGIC, FUSE_SUPER_MAGIC,   NSFS_MAGIC,
    0x19800202,  // mqueue
    0x62656570,  // configfs
};

bool HasData(int fd) {
  struct statfs info = {};
  return fstatfs(fd, &info) == 0 &&
         std::ranges::find(kVirtual, static_cast<unsigned long>(info.f_type)) == kVirtual.end();
}

}  // namespace

std::optional<bool> DataMounts::Known(dev_t device) const {
  if (wanted_ == Mounts::kAll) return true;
  const auto known = known_.find(device);
  return known == known_.end() ? std::nullopt : std::optional(known->second);
}

bool DataMounts::Allow(int fd, dev_t device) {
  if (const auto known = Known(device)) return *known;
  return known_[device] = HasData(fd);
}

}  // namespace cleanroom::tree
