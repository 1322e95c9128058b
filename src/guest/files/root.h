// Root: the sandbox's root filesystem, held by a descriptor.
//
// Its contents are hostile. Every path is resolved by the kernel as a chroot would (openat2 with
// RESOLVE_IN_ROOT), so a symbolic link or ".." never leads out of it, and no chroot is needed.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::guest {

class Root {
 public:
  static Result<Root> Open(const std::string& path);

  int fd() const { return fd_.get(); }

  // A regular file for reading. Mount points are not crossed (resource behind them may block or
  // never end: /proc, FUSE), so only the root filesystem itself is readable. not_found,
  // permission_denied; invalid_argument for anything but a regular file.
  Result<os::UniqueFd> OpenFile(const std::string& path) const;

  // The whole file; resource_exhausted when it has more than `max_bytes`.
  Result<std::string> ReadFile(const std::string& path, size_t max_bytes) const;

  // Makes `directory`/`name` a regular file with these contents, whatever was there: a symbolic
  // link is replaced, not followed. Makes the directory when it is missing.
  Result<void> ReplaceFile(const std::string& directory, const std::string& name,
                           std::string_view contents, mode_t mode = 0644) const;

  // mkdir -p, following symbolic links within the root; a descriptor (O_PATH) of the last
  // directory. New directories belong to root and have mode 0755.
  Result<os::UniqueFd> MakeDirs(const std::string& path) const;

  // A directory to mount on, made if missing: like MakeDirs, but no symbolic link is followed.
  Result<os::UniqueFd> MountPoint(const std::string& path) const;

 private:
  explicit Root(os::UniqueFd fd) : fd_(std::move(fd)) {}
  os::UniqueFd fd_;
};

}  // namespace cleanroom::guest
