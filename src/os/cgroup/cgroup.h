// Groups of processes with limits, below the groups that this process is in itself (cgroups(7)).
//
// Version 1 has one tree of groups for each controller, version 2 one for all; a host may have
// both.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace cleanroom::os {

struct CgroupLimits {
  uint64_t memory_bytes = 0;
  uint64_t processes = 0;  // and threads
};

// A tree in which groups can be made.
struct CgroupTree {
  std::string folder;  // that ours are made in, e.g. /sys/fs/cgroup/pids/cleanroom-1a2b3c4d
  std::vector<std::string> controllers;  // "memory", "pids"
  bool unified = false;                  // version 2
};

class Cgroups {
 public:
  // Where this process may limit memory and processes, in folders `name`, which are made.
  // failed_precondition, with the remedy, when it may limit neither.
  static Result<Cgroups> Find(const std::string& name);
  // The same by what /proc/self/mountinfo and /proc/self/cgroup say.
  static Result<Cgroups> Find(const std::string& name, std::string_view mountinfo,
                              std::string_view own_groups);

  const std::vector<CgroupTree>& trees() const { return trees_; }
  bool Limits(std::string_view controller) const;

  // Makes a group in each tree; their folders. What was there of the same id stays.
  Result<std::vector<std::string>> Make(const std::string& id, const CgroupLimits& limits) const;
  // The ids of all that are there.
  std::vector<std::string> List() const;
  // Kills what is in the groups of that id and removes them; blocking, for some milliseconds, at
  // most one second. Success when there are none.
  Result<void> Remove(const std::string& id) const;
  // Removes the folders `name` themselves, where nothing is in them any more.
  void RemoveTrees() const;

 private:
  explicit Cgroups(std::vector<CgroupTree> trees) : trees_(std::move(trees)) {}
  std::vector<CgroupTree> trees_;
};

// Whether a process is in one of them.
bool HaveMembers(const std::vector<std::string>& folders);
// Moves a process, and the children that it has, into groups; blocking (README.md).
Result<void> MoveInto(const std::vector<std::string>& folders, pid_t pid);
// The same for one that is in the groups `from`; permission_denied when it is not, for somebody who
// is not to be trusted with the number.
Result<void> MoveFrom(const std::vector<std::string>& from, const std::vector<std::string>& to,
                      pid_t pid);

}  // namespace cleanroom::os
