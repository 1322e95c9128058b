// The agent's own mounts, and those that make up the sandbox's root filesystem.
//
// The agent stays in its initramfs, where no command's file can be in its way; commands see the
// sandbox's root as "/" of the mount namespace, so that they may nest namespaces and containers.
#pragma once

#include <string>

#include "base/result.h"
#include "guest/files/root.h"

namespace cleanroom::guest {

inline constexpr const char* kTerminalMultiplexer = "/dev/pts/ptmx";
inline constexpr const char* kCgroups = "/sys/fs/cgroup";
inline constexpr const char* kDisk = "/disk";  // the sandbox's disk, in the agent's own view

// Mounts /proc, /sys and /dev in the initramfs. The first thing PID 1 does.
Result<void> MountOwnFilesystems();

struct RootDevices {
  std::string image;  // "/dev/vda": an ext4, mounted read-only
  std::string disk;   // an ext4 that holds what the sandbox writes
};

// Mounts the image with the disk above it as one overlay, with /proc, /sys, /dev, /run and their
// like, and makes it the root of the mount namespace. On the disk, `upper` and `work` are the
// overlay's; other directories beside them are free for what cannot lie on an overlay.
Result<Root> MountRoot(const RootDevices& devices);

// Writes everything out and makes the disk read-only, so that its file system is left clean. Call
// it when no command runs any more. Does its best.
void QuiesceDisk();

}  // namespace cleanroom::guest
