// A root of its own: this process, and what it starts, sees of the host's file system only what is
// named here. Everything else, /proc included, is not hidden but absent.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace cleanroom::os {

struct PrivateRootConfig {
  // Absolute paths of files and directories (with all that is mounted below them), each found again
  // at its own path. Symbolic links at the last component are kept as links, so that /lib ->
  // usr/lib works beside /usr. What does not exist is left out.
  std::vector<std::string> read_only;
  std::vector<std::string> writable;
  std::vector<std::string> devices;  // device nodes: may be opened as such
  std::vector<std::string> empty{};  // folders with nothing in them, which need not exist
};

// A root within the root, for a child that is to see less, or other things (SpawnOptions::root).
struct InnerRoot {
  std::string at;  // an absolute path of one component
  PrivateRootConfig files;
};

// What running programs of the distribution needs: /usr with the links into it, the loader's cache,
// and /dev/null.
PrivateRootConfig ProgramsOnly();

// Moves this process, which has one thread and CAP_SYS_ADMIN in its user namespace, into a mount
// namespace with such a root; there is no way back. Open descriptors stay as they are; the working
// directory becomes the new root. failed_precondition when the kernel or the permissions do not
// allow it: the process is then fit only to report that and exit.
Result<void> EnterPrivateRoot(const PrivateRootConfig& config,
                              const std::vector<InnerRoot>& inner = {});

}  // namespace cleanroom::os
