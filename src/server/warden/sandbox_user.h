// The host user of a sandbox: where the control plane is root, each sandbox's warden and machine
// run as a user of their own, whom no account names and no other sandbox shares. An ordinary user's
// sandboxes run as that user.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "server/layout.h"
#include "server/settings.h"

namespace cleanroom::server {

// The ids to choose from, by the map of our own user namespace (/proc/self/uid_map): on a host, a
// range that systemd's list of them (UIDS-GIDS) has as free; in a container, the upper half of what
// it has, if that is some thousands.
std::optional<UserRange> UsersIn(std::string_view uid_map);

// The ids that sandboxes' users are chosen from: nothing where we are an ordinary user, whose
// sandboxes run as that user; failed_precondition, with the reason, where we are root and cannot do
// it: in a user namespace with few ids, or without the capabilities. They then run
// as we do, which `doctor` tells.
Result<std::optional<UserRange>> FindSandboxUsers();

// Chooses a user for the sandbox whose folder is there, one that owns no other sandbox's folder,
// and makes that user the owner of the folder and all in it. Nothing where sandboxes have no users
// of their own.
Result<std::optional<uid_t>> GiveToUser(const std::optional<UserRange>& users, const Layout& layout,
                                        const SandboxId& id);

}  // namespace cleanroom::server
