// Starts a command inside the root, as its user, without copying the agent's memory.
#pragma once

#include <sys/types.h>

#include <expected>
#include <string>
#include <vector>

#include "accounts/users.h"

namespace cleanroom::guest {

struct SpawnRequest {
  std::vector<std::string> argv;
  std::vector<std::string> env;  // the whole of it
  std::string workdir = "/";     // inside the root; must exist
  accounts::User user{};
  // Takes the user's ids on. False only where the agent's own unit tests run without root.
  bool change_user = true;
  // A directory that becomes the command's root; -1: the caller's root stays.
  int root_fd = -1;
  // A cgroup v2 directory the command is born into; -1: the caller's.
  int cgroup_fd = -1;
  // What becomes 0, 1 and 2. Nothing else is inherited.
  int stdin_fd = -1;
  int stdout_fd = -1;
  int stderr_fd = -1;
  // stdin_fd is a terminal, to become the controlling one.
  bool controlling_terminal = false;
};

// Why the command does not run, as a shell would say it.
struct SpawnFailure {
  int exit_code;  // 127: no such program; 126: anything else
  std::string message;
};

// Returns once the program has been executed, in a session and process group of its own, or has
// failed to be. The program is looked up in the PATH of `env`, inside the root and with the user's
// rights. No signal is blocked or handled, SIGPIPE is not ignored and the umask is 022.
// Resource limits and the out-of-memory score are the caller's.
//
// The child is the caller's to reap; a child that failed to start already is.
std::expected<pid_t, SpawnFailure> Spawn(const SpawnRequest& request);

}  // namespace cleanroom::guest
