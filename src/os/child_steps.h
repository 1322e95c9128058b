// What a child does between vfork(2) and execve(2), where it shares its parent's memory: system calls
// and nothing else. Each answers 0, or -1 with errno.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <vector>

#include "os/fd_mapping.h"

namespace cleanroom::os {

// Puts every `parent` descriptor in the place of its `child`; all others from 3 on are closed by
// execve. `scratch` has one int for each mapping, and no target is `first_free` or higher: sources
// below it move there first, so that no target overwrites a source.
int PlaceDescriptors(std::span<const FdMapping> mappings, int* scratch, int first_free);

// Becomes the user, for this thread alone: glibc's wrappers would change all threads of the parent.
int BecomeUser(uid_t uid, gid_t gid, std::span<const gid_t> groups);

// Lets every signal through.
void UnblockSignals();

// For execve: pointers into `strings`, which must outlive them, and a null behind.
std::vector<char*> PointersTo(const std::vector<std::string>& strings);

}  // namespace cleanroom::os
