#include "guest/machine/mounts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "os/file.h"

namespace cleanroom::guest {
namespace {

constexpr const char* kImage = "/image";
constexpr const char* kNewRoot = "/newroot";

struct Mount {
  const char* source;
  const char* target;
  const char* type;
  unsigned long flags;
  const char* options;
};

constexpr unsigned long kInert = MS_NOSUID | MS_NODEV | MS_NOEXEC;

constexpr Mount kOwn[] = {
    {"proc", "/proc", "proc", kInert, ""},
    {"sysfs", "/sys", "sysfs", kInert, ""},
    {"devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755"},
};

// In the agent's view, and from there in the commands': one instance, which the agent reaches by
// a path that no command can replace.
constexpr Mount kShared[] = {
    {"devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5"},
    {"cgroup2", kCgroups, "cgroup2", kInert, "nsdelegate"},
};

constexpr Mount kInRoot[] = {
    {"proc", "proc", "proc", kInert, ""},
    {"sysfs", "sys", "sysfs", kInert, ""},
    {kCgroups, "sys/fs/cgroup", nullptr, MS_BIND, nullptr},
    {"devtmpfs", "dev", "devtmpfs", MS_NOSUID, "mode=0755"},
    {"/dev/pts", "dev/pts", nullptr, MS_BIND, nullptr},
    {"shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"},
    {"mqueue", "dev/mqueue", "mqueue", kInert, ""},
    {"run", "run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"},
};

Result<void> Do(const Mount& what, const std::string& target) {
  if (mount(what.source, target.c_str(), what.type, what.flags, what.options) == 0) return {};
  return ErrErrno(ErrorCode::kInternal, fmt::format("mount {} on {}", what.source, what.target));
}

Result<void> DoAll(const Mount* begin, const Mount* end) {
  for (const Mount* what = begin; what != end; ++what) {
    if (mkdir(what->target, 0755) != 0 && errno != EEXIST) {
      return ErrErrno(ErrorCode::kInternal, fmt::format("make {}", what->target));
    }
    CR_TRY(Do(*what, what->target));
  }
  return {};
}

// What programs expect in /dev and the kernel does not put there.
void LinkStandardDevices() {
  (void)!symlink("/proc/self/fd", "/dev/fd");
  (void)!symlink("/proc/self/fd/0", "/dev/stdin");
  (void)!symlink("/proc/self/fd/1", "/dev/stdout");
  (void)!symlink("/proc/self/fd/2", "/dev/stderr");
}

Result<void> MountOverlay(const RootDevices& devices) {
  for (const char* directory : {kImage, kDisk, kNewRoot}) {
    CR_TRY(os::MakeDirs(directory, 0755));
  }
  const Mount image = {devices.image.c_str(), kImage, "ext4", MS_RDONLY, ""};
  const Mount disk = {devices.disk.c_str(), kDisk, "ext4", MS_NOATIME, ""};
  CR_TRY(Do(image, kImage));
  CR_TRY(Do(disk, kDisk));
  CR_TRY(os::MakeDirs(fmt::format("{}/upper", kDisk), 0755));
  CR_TRY(os::MakeDirs(fmt::format("{}/work", kDisk), 0755));
  // With redirects, renaming a directory of the image works as it does anywhere else.
  const std::string options = fmt::format(
      "lowerdir={},upperdir={}/upper,workdir={}/work,redirect_dir=on", kImage, kDisk, kDisk);
  const Mount overlay = {"overlay", kNewRoot, "overlay", MS_NOATIME, options.c_str()};
  return Do(overlay, kNewRoot);
}

// As it is in the image; an image without one gets it.
Result<void> MakeTmp(const Root& root) {
  if (faccessat(root.fd(), "tmp", F_OK, AT_SYMLINK_NOFOLLOW) == 0) return {};
  if (mkdirat(root.fd(), "tmp", 0777) != 0 || fchmodat(root.fd(), "tmp", 01777, 0) != 0) {
    return ErrErrno(ErrorCode::kInternal, "make /tmp");
  }
  return {};
}

}  // namespace

Result<void> MountOwnFilesystems() { return DoAll(std::begin(kOwn), std::end(kOwn)); }

Result<Root> MountRoot(const RootDevices& devices) {
  CR_TRY(DoAll(std::begin(kShared), std::end(kShared)));
  LinkStandardDevices();
  CR_TRY(MountOverlay(devices));
  CR_TRY_ASSIGN(Root root, Root::Open(kNewRoot));
  for (const Mount& what : kInRoot) {
    CR_TRY_ASSIGN(const os::UniqueFd target, root.MountPoint(what.target));
    CR_TRY(Do(what, os::ProcFdPath(target.get())));
  }
  CR_TRY(MakeTmp(root));
  // Over the initramfs, as switch_root does, but the agent's own root directory stays what it is.
  if (mount(kNewRoot, "/", nullptr, MS_MOVE, nullptr) != 0) {
    return ErrErrno(ErrorCode::kInternal, "move the root filesystem into place");
  }
  return root;
}

void QuiesceDisk() {
  sync();
  // The overlay keeps the disk in use, so it cannot be unmounted; read-only makes it clean as well.
  (void)mount(nullptr, kDisk, nullptr, MS_REMOUNT | MS_RDONLY, nullptr);
}

}  // namespace cleanroom::guest
