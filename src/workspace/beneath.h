// Files below a folder, reached without ever following a link, leaving the folder, or crossing into
// another file system (openat2). The names may be hostile.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::workspace {

// What is at a path now. Two looks that are equal saw the same, unchanged file.
struct Look {
  enum class Kind {
    kMissing,
    kFile,
    kLink,
    kFolder,
    kOther,       // a device, a socket, a named pipe
    kBehindLink,  // a folder on the way is a symbolic link
    kBehindFile,  // a folder on the way is a file
    kElsewhere,   // on another file system, or mounted there
  } kind = Kind::kMissing;
  uint64_t device = 0, inode = 0, size = 0;
  int64_t mtime_ns = 0, ctime_ns = 0;
  mode_t mode = 0;  // 07777
  bool operator==(const Look&) const = default;
};

// `path` is WhyNotInTree's kind of path, relative to the folder `top`.
Result<Look> LookBeneath(int top, const std::string& path);
// To read; not_found or failed_precondition where it is no file.
Result<os::UniqueFd> OpenFileBeneath(int top, const std::string& path);
// The folder `path` ("": the top itself); with kMake, the parts that are missing are made.
enum class Missing { kMake, kFail };
Result<os::UniqueFd> OpenFolderBeneath(int top, const std::string& path, Missing missing);
// The target of a link.
Result<std::string> ReadLinkBeneath(int top, const std::string& path);

}  // namespace cleanroom::workspace
