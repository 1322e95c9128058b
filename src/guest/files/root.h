// Root: the sandbox's root filesystem, held by a descriptor.
//
// Its contents are hostile. Every path is resolved by the kernel as a chroot would (openat2 with
// RESOLVE_IN_ROOT), so a symbolic link or ".." never leads out of it, and no chroot is needed.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/unique_fd.h"
#include "tree/file_writer.h"

namespace cleanroom::guest {

class Root {
 public:
  static Result<Root> Open(const std::string& path);

  int fd() const { return fd_.get(); }

  // A regular file for reading, on whatever is mounted in the root but virtual file systems, whose
  // files may block or never end (tree::DataMounts). not_found, permission_denied; invalid_argument
  // for anything but a regular file.
  Result<os::UniqueFd> OpenFile(const std::string& path) const;

  // The whole file; resource_exhausted when it has more than `max_bytes`.
  Result<std::string> ReadFile(const std::string& path, size_t max_bytes) const;

  // Makes `directory`/`name` a regular file with these contents, whatever was there: a symbolic
  // link is replaced, not followed. Makes the directory when it is missing.
  Result<void> ReplaceFile(const std::string& directory, const std::string& name,
                           std::string_view contents, mode_t mode = 0644) const;

  // mkdir -p, following symbolic links within the root; a descriptor (O_PATH) of the last
  // directory. New directories have mode 0755 and belong to the owner: nothing means root.
  Result<os::UniqueFd> MakeDirs(const std::string& path,
                                std::optional<tree::Owner> owner = {}) const;

  // A name in its folder (O_PATH), which has been found through links; the name itself may be one.
  // "." in the folder itself for the root and for a path that ends with "." or "..".
  struct Place {
    os::UniqueFd folder;
    std::string name;
  };
  Result<Place> Locate(const std::string& path) const;
  // The place of a file to write: a link at the end of the path is followed to where its file is,
  // or is to be. Makes the path's folders. invalid_argument for what is there and no regular file,
  // for a circle of links, and on virtual file systems.
  Result<Place> LocateForWriting(const std::string& path, std::optional<tree::Owner> owner) const;
  // A folder for reading (O_PATH), on no virtual file system.
  Result<os::UniqueFd> OpenFolder(const std::string& path) const;
  // Of what the path leads to, following links or, at its end, not.
  enum class Links : uint8_t { kFollow, kKeep };
  Result<struct stat> Stat(const std::string& path, Links links) const;

  // A directory to mount on, made if missing: like MakeDirs, but no symbolic link is followed.
  Result<os::UniqueFd> MountPoint(const std::string& path) const;

 private:
  explicit Root(os::UniqueFd fd) : fd_(std::move(fd)) {}
  os::UniqueFd fd_;
};

}  // namespace cleanroom::guest
