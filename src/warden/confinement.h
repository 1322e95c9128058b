// Confinement: what a warden gives up before it reads anything, and the roots that it and its VMM
// are left with.
//
// It sees its folder and nothing else of the host's files: no program, no /proc. Its VMM's root
// (vmm/jail.h) is a folder in its own. It has a user namespace of its own, no capability in any, a
// system call filter, limits, and, where the control plane is root, a user id of the sandbox's own.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "os/netns/netns.h"

namespace cleanroom::warden {

struct ConfinementConfig {
  std::string folder;                 // of the sandbox, which the warden writes to
  std::vector<std::string> readable;  // files and folders for its VMM, and
  std::vector<std::string> writable;  // files
  // The VMM is to be forked: it has this process's root and namespaces, so that a fork of it can
  // have namespaces of its own. This process then has no network, which nobody needs who holds a
  // machine.
  bool hold = false;
  // Whom to become, when this process is root; nothing: it stays who it is.
  std::optional<uid_t> user;
  os::NetNsConfig network;
};

struct Confined {
  os::NetNs network;
  std::chrono::steady_clock::duration took{};  // the whole of it
  // Why there is no root, or no network: the process is fit only to report it.
  std::optional<Error> no_root;
  std::optional<Error> no_network;

  std::optional<Error> problem() const { return no_root ? no_root : no_network; }
};

// For a process with one thread, once; there is no way back. An error: the process must end, for it
// may have kept privileges.
Result<Confined> Confine(const ConfinementConfig& config);

}  // namespace cleanroom::warden
