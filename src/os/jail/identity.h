// Who a process is on the host, and the user namespace in which it gives up the rest.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/result.h"
#include "os/process.h"

namespace cleanroom::os {

// Makes this process, which is root and has one thread, that user for good: real, effective and
// saved ids, and exactly these supplementary groups. Its capabilities are gone.
Result<void> Become(const Credentials& who);

// Moves this process, which must have one thread, into a user namespace of its own, where it has
// all capabilities until it drops them; there is no way back. Its own ids are mapped to themselves,
// no others are. `proc_dir` is a descriptor of /proc, which may be out of sight by then.
// failed_precondition, with the remedy, where the host forbids it.
Result<void> EnterUserNamespace(int proc_dir);
// The same with /proc at its place.
Result<void> EnterUserNamespace();

// The error of errno, "WHAT: ERRNO", with what the host's owner can do about it.
std::unexpected<Error> NotAllowed(std::string_view what, std::string_view remedy);

}  // namespace cleanroom::os
